import { show } from "../json.js";
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

/** A name that a stranger chose, bare where it is harmless, else quoted, so that it cannot break the line. */
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
