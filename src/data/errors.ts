import { FileError } from "../errors.js";

/** A file of utterances, or a corpus on disk, that cannot be read as what it should be: file and line, field, expected and got. */
export class DataError extends FileError {}
