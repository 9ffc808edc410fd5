import { FunasrError } from "../errors.js";

/** Audio that cannot be used: which file, which field, what was expected and what was there. */
export class AudioError extends FunasrError {
  /**
   * @param file      name of the audio as the caller knows it
   * @param field     what is wrong, e.g. `fmt.channels`
   * @param expected  what would have been accepted
   * @param got       what was found
   */
  constructor(
    readonly file: string,
    readonly field: string,
    readonly expected: string,
    readonly got: string | number,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${field} must be ${expected}, got ${got}`, options);
  }
}

/** A front-end configuration that cannot be used: which file, which field, expected and got. */
export class FrontendConfigError extends FunasrError {
  constructor(
    readonly file: string,
    readonly field: string,
    readonly expected: string,
    readonly got: string,
  ) {
    super(`${file}: ${field} must be ${expected}, got ${got}`);
  }
}
