import { FileError, FunasrError } from "../errors.js";

/** Training cannot be done as asked, or has to stop. */
export class TrainError extends FunasrError {}

/** The cache of encoder states cannot be written. This is no fault of a line of the data. */
export class CacheError extends TrainError {}

/** A file of a training run is damaged or does not fit the run. */
export class TrainFileError extends FileError {}
