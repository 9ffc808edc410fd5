import { FileError } from "../errors.js";

/** What helps with audio of a kind that is not read here. */
export const convertIt = { advice: "convert it with ffmpeg -i IN out.wav" } as const;
/** What helps with audio that is damaged or incomplete. */
export const fetchAgain = { advice: "copy or download it again, or make it anew from its source" } as const;

/** Audio that cannot be used: which file, which field, what was expected and what was there. */
export class AudioError extends FileError {
  /**
   * @param file      name of the audio as the caller knows it
   * @param field     what is wrong, e.g. `fmt.channels`
   * @param expected  what would have been accepted
   * @param got       what was found
   */
  constructor(
    file: string,
    field: string,
    expected: string,
    got: string | number,
    options?: ErrorOptions & { readonly advice?: string },
  ) {
    super({ file, field, expected, got, advice: options?.advice }, options);
  }
}

/** A front-end configuration that cannot be used: which file, which field, expected and got. */
export class FrontendConfigError extends FileError {
  constructor(file: string, field: string, expected: string, got: string) {
    super({ file, field, expected, got });
  }
}
