import { FunasrError } from "../errors.js";

/** Tokenizer files that cannot be used, or that do not fit the model: which file, which field, expected and got. */
export class TokenizerError extends FunasrError {
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

/** A prompt that cannot be built as asked: which option, expected and got. */
export class PromptError extends FunasrError {
  constructor(
    readonly option: string,
    readonly expected: string,
    readonly got: string | number,
    options?: ErrorOptions,
  ) {
    super(`prompt: ${option} must be ${expected}, got ${got}`, options);
  }
}

/** A value on one line and short enough for an error message. */
export function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** What a library threw, as one line. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
