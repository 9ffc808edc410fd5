import { FileError } from "../../errors.js";

/** Live audio cannot be had, or is none. */
export class LiveInputError extends FileError {}
