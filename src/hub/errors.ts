import { FunasrError } from "../errors.js";

/** A model that cannot be had from the hub or its cache; one line that says what to do. */
export class HubError extends FunasrError {}

/** The hub cannot be reached, or answers that it is out of order: a copy in the cache will do. */
export class HubUnreachableError extends HubError {}

/** Bytes in the largest fitting decimal unit, for messages. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}
