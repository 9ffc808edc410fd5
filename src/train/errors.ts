import { FileError, FunasrError } from "../errors.js";

/** Training was asked for what cannot be, or has to stop. */
export class TrainError extends FunasrError {}

/** A file of a training run is damaged or does not fit the run. */
export class TrainFileError extends FileError {}
