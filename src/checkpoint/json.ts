import { CheckpointError, show } from "./errors.js";

export type JsonObject = Readonly<Record<string, unknown>>;

/** True for a JSON object (not null, not an array). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses a JSON document whose top is an object, refusing names given twice in the two outer levels: JSON.parse keeps the last
 * silently, so two readers of one file could see different tensors.
 * @throws CheckpointError  not JSON, not an object, or a name given twice
 */
export function parseJsonObject(text: string, file: string, field: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text) as unknown;
  } catch (cause) {
    const advice = "the file is damaged or of another kind";
    throw new CheckpointError(
      { file, field, expected: "JSON", got: `text that does not parse (${reason(cause)})`, advice },
      { cause },
    );
  }
  if (!isObject(value))
    throw new CheckpointError({ file, field, expected: "a JSON object", got: show(value) });
  const name = firstDuplicate(text);
  if (name !== undefined) {
    throw new CheckpointError({ file, field, expected: "every name once", got: `${show(name)} twice` });
  }
  return value;
}

/** The parser's complaint without the excerpt of the text that Node appends. */
function reason(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message.replace(/,? ?(\.\.\.)?".*$/s, "").slice(0, 80);
}

/**
 * The first name given twice in one object at depth 1 or 2 of valid JSON. One pass, no recursion, so depth cannot overflow the stack.
 */
function firstDuplicate(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // names of each open object; undefined for arrays and below depth 2
  let atName = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      const end = stringEnd(text, i);
      const names = open.at(-1);
      if (atName && names) {
        const raw = text.slice(i, end);
        const name = raw.includes("\\") ? (JSON.parse(raw) as string) : raw.slice(1, -1);
        if (names.has(name)) return name;
        names.add(name);
      }
      atName = false;
      i = end - 1;
    } else if (c === "{") {
      open.push(open.length < 2 ? new Set() : undefined);
      atName = true;
    } else if (c === "[") {
      open.push(undefined);
    } else if (c === "}" || c === "]") {
      open.pop();
    } else if (c === ",") {
      atName = open.at(-1) !== undefined;
    }
  }
  return undefined;
}

/** Index just past the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') return i + 1;
  }
  return text.length;
}
