import { FileError, FunasrError } from "../errors.js";

/** Training was asked for what cannot be, or has to stop. */
export class TrainError extends FunasrError {}

/** The cache of encoder states cannot be written: no fault of the line whose clip was to go there. */
export class CacheError extends TrainError {}

/** A file of a training run is damaged or does not fit the run. */
export class TrainFileError extends FileError {}
