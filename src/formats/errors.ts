import { FileError } from "../errors.js";
import { show } from "../json.js";

/** Weights or their container are missing, damaged, or not what the config says. */
export class CheckpointError extends FileError {}

/** A JSON config lacks a field, or holds a value that this engine cannot run. */
export class ConfigError extends FileError {}

/** The field path of a tensor, quoted because a name may hold anything. */
export function tensorField(name: string, field?: string): string {
  return `tensor ${show(name)}${field === undefined ? "" : ` ${field}`}`;
}
