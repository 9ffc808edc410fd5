export type JsonObject = Readonly<Record<string, unknown>>;

/** True for a JSON object (not null, not an array). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

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

/** What jsonFault says of a text that was cut. */
export const CUT_JSON = "a line that ends too early";

/** Why JSON.parse refused a text. */
export function jsonFault(text: string, error: unknown): string {
  const why = reason(error);
  const at = Number(/ at position (\d+)/.exec(why)?.[1]);
  const isCut = /^Un(expected end|terminated string)/.test(why) || at >= text.trimEnd().length;
  return isCut ? CUT_JSON : why;
}

/** What a library threw, as one line. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
