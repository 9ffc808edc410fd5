import { FileError } from "../errors.js";

/** A corpus directory, or what lies in it, is not as it has to be. */
export class CorpusError extends FileError {}

/** A CorpusError from its parts, in the order of the message. */
export function corpusError(
  file: string,
  field: string,
  expected: string,
  got: string,
  advice?: string,
): CorpusError {
  return new CorpusError({ file, field, expected, got, advice });
}
