import { FileError } from "../errors.js";

/** A tokenizer file cannot be used, or does not match the model. */
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

/** A prompt cannot be built with these options. */
export class PromptError extends FileError {
  constructor(
    readonly option: string,
    expected: string,
    got: string | number,
    options?: ErrorOptions & { readonly advice?: string },
  ) {
    super({ file: "prompt", field: option, expected, got, advice: options?.advice }, options);
  }
}
