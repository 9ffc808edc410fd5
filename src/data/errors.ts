import { FileError } from "../errors.js";

/** A file of utterances, or a corpus, cannot be read. */
export class DataError extends FileError {}

/** A DataError from its parts, in the order of the message. */
export function dataError(
  file: string,
  field: string,
  expected: string,
  got: string,
  advice?: string,
): DataError {
  return new DataError({ file, field, expected, got, advice });
}
