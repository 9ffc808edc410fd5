import { FileError } from "../errors.js";

/** Advice for audio of an unsupported kind. */
export const convertIt = { advice: "convert it with ffmpeg -i IN out.wav" } as const;
/** Advice for audio that is damaged or incomplete. */
export const fetchAgain = { advice: "copy or download it again, or make it anew from its source" } as const;

/** Audio that cannot be used: which file, which field, what was expected and what was there. */
export class AudioError extends FileError {
  /**
   * @param file      name of the audio as the caller knows it
   * @param field     the wrong field, e.g. `fmt.channels`
   * @param expected  the accepted values
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

/** Audio that is longer than its reader takes. Its name is that of its kind. */
export class LongAudioError extends AudioError {
  /**
   * @param file         name of the audio as the caller knows it
   * @param seconds      its length, as far as it is known
   * @param mostSeconds  the longest that is taken
   */
  constructor(
    file: string,
    readonly seconds: number,
    readonly mostSeconds: number,
  ) {
    const most = Math.max(0, Math.floor(mostSeconds));
    super(file, "prompt", `at most ${most} s, which fill the model's positions`, `${seconds.toFixed(1)} s`, {
      advice: `cut the clip into parts of ${most} s at most`,
    });
    this.name = "AudioError";
  }
}

/** A front-end configuration that cannot be used: which file, which field, expected and got. */
export class FrontendConfigError extends FileError {
  constructor(file: string, field: string, expected: string, got: string) {
    super({ file, field, expected, got });
  }
}
