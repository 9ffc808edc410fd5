import { FileError } from "../errors.js";

/** Tokenizer files that cannot be used, or that do not fit the model: which file, which field, expected and got. */
export class TokenizerError extends FileError {
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

/** A prompt that cannot be built as asked: which option, expected and got. */
export class PromptError extends FileError {
  constructor(
    readonly option: string,
    expected: string,
    got: string | number,
    options?: ErrorOptions,
  ) {
    super({ file: "prompt", field: option, expected, got }, options);
  }
}
