import { FileError } from "../errors.js";
import { show } from "../json.js";

/** Weights or their container are missing or damaged, or contradict the config. */
export class CheckpointError extends FileError {}

/** A JSON config lacks a field, or a field has a value that this engine cannot run. */
export class ConfigError extends FileError {}

/** A CheckpointError from its parts, in the order of the message. */
export function checkpointError(
  file: string,
  field: string,
  expected: string,
  got: string | number,
  advice?: string,
): CheckpointError {
  return new CheckpointError({ file, field, expected, got, advice });
}

/** The field path of a tensor. The name is quoted: it can contain any character. */
export function tensorField(name: string, field?: string): string {
  return `tensor ${show(name)}${field === undefined ? "" : ` ${field}`}`;
}
