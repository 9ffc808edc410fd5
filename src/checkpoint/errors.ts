import { FunasrError } from "../errors.js";

/** The parts of a one-line refusal. `field` names what in the file is wrong; `advice` what the user can do. */
export interface Refusal {
  readonly file: string;
  readonly field: string;
  readonly expected: string;
  readonly got: string;
  readonly advice?: string;
}

/** An error about a file: one line, `FILE: FIELD: expected E, got G; ADVICE`, with the parts kept as properties. */
abstract class FileError extends FunasrError {
  readonly file: string;
  readonly field: string;
  readonly expected: string;
  readonly got: string;

  constructor(refusal: Refusal, options?: ErrorOptions) {
    const { file, field, expected, got, advice } = refusal;
    super(
      oneLine(`${file}: ${field}: expected ${expected}, got ${got}${advice ? `; ${advice}` : ""}`),
      options,
    );
    this.file = file;
    this.field = field;
    this.expected = expected;
    this.got = got;
  }
}

/** Weights or their container are missing, damaged, or not what the config says. */
export class CheckpointError extends FileError {}

/** A JSON config lacks a field, or holds a value that this engine cannot run. */
export class ConfigError extends FileError {}

const LONGEST = 80;

/** A value from a stranger's file, short and printable enough for a one-line message. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string")
    return JSON.stringify(value.length > LONGEST ? value.slice(0, LONGEST) + "…" : value);
  if (Array.isArray(value)) {
    const few = value.length <= 8 && value.every((v) => typeof v !== "object" && typeof v !== "string");
    return few ? `[${value.map((v) => String(v)).join(", ")}]` : `an array of ${value.length}`;
  }
  return typeof value === "number" || typeof value === "boolean" || value === null
    ? String(value)
    : "an object";
}

/** The field path of a tensor, quoted because a name may hold anything. */
export function tensorField(name: string, field?: string): string {
  return `tensor ${show(name)}${field === undefined ? "" : ` ${field}`}`;
}

/** Control characters and line separators escaped, so that a name from a file cannot break the line. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
