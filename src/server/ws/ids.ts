import { randomBytes } from "node:crypto";

/** A new name of an event, a session or an item. */
export function newId(kind: string): string {
  return `${kind}_${randomBytes(12).toString("hex")}`;
}
