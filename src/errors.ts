import { show } from "./json.js";

/**
 * Base class of every error this package throws on purpose; its message is one line meant for the
 * user.
 */
export class FunasrError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * The parts of a one-line refusal. `field` names what in the file is wrong; `advice` what the user
 * can do.
 */
export interface Refusal {
  readonly file: string;
  readonly field: string;
  readonly expected: string;
  readonly got: string | number;
  readonly advice?: string | undefined;
}

/**
 * An error about a file: one line, `FILE: FIELD: expected E, got G; ADVICE`, with the parts kept as
 * properties. A field that is called as the file stands once.
 */
export abstract class FileError extends FunasrError {
  readonly file: string;
  readonly field: string;
  readonly expected: string;
  readonly got: string | number;

  constructor(refusal: Refusal, options?: ErrorOptions) {
    const { file, field, expected, got, advice } = refusal;
    const where = field === file ? file : `${file}: ${field}`;
    super(oneLine(`${where}: expected ${expected}, got ${got}${advice ? `; ${advice}` : ""}`), options);
    this.file = file;
    this.field = field;
    this.expected = expected;
    this.got = got;
  }
}

/**
 * Control characters, line separators and marks of direction escaped, so that a name from a file
 * cannot break or reorder the line.
 */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, escaped);
}

/**
 * Control characters, line separators and overrides of direction escaped, except the ends of lines
 * and tabs of a text of several lines.
 */
export function plainText(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * A name that a stranger chose, bare where it is harmless, else quoted, so that it cannot break the
 * line.
 */
export function quoted(name: string): string {
  return /^[\w./@+-]{1,120}$/.test(name) ? name : show(name);
}

/** The system's code of an error or of what caused it, such as ECONNREFUSED. */
export function errorCode(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 4; e = e.cause, depth++) {
    if ("code" in e && typeof e.code === "string") return e.code;
  }
  return undefined;
}
