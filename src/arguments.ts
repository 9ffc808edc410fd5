import { FunasrError } from "./errors.js";

/** A function of the library was called with an argument of another kind: which, expected, got. */
export class ArgumentError extends FunasrError {}

/**
 * Refuses an argument of another kind, for callers without TypeScript.
 * @param where     function and argument, "Transcriber.load: files"
 * @param expected  what it takes, and how to make it
 * @throws ArgumentError  `ok` is false
 */
export function expectArgument(where: string, ok: boolean, expected: string, got: unknown): void {
  if (!ok) throw new ArgumentError(`${where}: expected ${expected}, got ${kindOf(got)}`);
}

/** Whether a value is an object that has all these methods. */
export function hasMethods(value: unknown, ...names: readonly string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}

/** The kind of a value in a few words: the text itself, the name of its class, or its type. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return value.length > 60 ? "a long text" : JSON.stringify(value);
  if (typeof value === "number") return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  const name = (value.constructor as { readonly name?: string } | undefined)?.name;
  return name && name !== "Object" ? `an object of class ${name}` : "a plain object";
}
