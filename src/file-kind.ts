import type { Stats } from "node:fs";

/** What stands in the place of a file, for errors. */
export function kindOf(found: Stats): string {
  if (found.isDirectory()) return "a directory";
  if (found.isFIFO()) return "a named pipe";
  return found.isSocket() ? "a socket" : "a device";
}
