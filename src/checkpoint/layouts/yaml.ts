import { type Document, LineCounter, isScalar, parseDocument, visit } from "yaml";
import { ConfigReader } from "../../config/reader.js";
import { type JsonObject, isObject, show } from "../../json.js";
import type { ModelFiles } from "../source.js";
import { CheckpointError } from "../../formats/errors.js";

/** Longest document, characters: FunASR's has 4,000. Parsing can take quadratic time. */
const MAX_YAML = 64_000;
/** Deepest nesting, to bound the parser's recursion. */
const MAX_DEPTH = 64;
const MAX_ALIASES = 100;

/**
 * Reads a YAML file of a directory.
 * @throws CheckpointError  it is missing, or as parseYamlObject
 */
export async function readYaml(files: ModelFiles, name: string): Promise<ConfigReader> {
  const file = `${files.name}/${name}`;
  return ConfigReader.of(parseYamlObject(await files.readText(name, MAX_YAML), file), file);
}

/**
 * Parses a YAML 1.1 document whose top is a mapping, as Python's reader does. Tags of Python
 * objects are refused.
 * @throws CheckpointError  not YAML, not a mapping, a key twice, an unknown tag, too long, too
 *   deep, or too many aliases
 */
export function parseYamlObject(text: string, file: string): JsonObject {
  const refuse = (expected: string, got: string, cause?: unknown): CheckpointError =>
    new CheckpointError({ file, field: "content", expected, got }, { cause });
  if (text.length > MAX_YAML) throw refuse(`at most ${MAX_YAML} characters`, `${text.length}`);
  if (depth(text) > MAX_DEPTH) throw refuse(`at most ${MAX_DEPTH} levels`, "more");
  let value: unknown;
  try {
    const lineCounter = new LineCounter();
    const settings = { version: "1.1", logLevel: "error", uniqueKeys: false, lineCounter } as const;
    const document = parseDocument(text, { ...settings, prettyErrors: false }); // pretty errors take quadratic time
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem) {
      const { line, col } = lineCounter.linePos(problem.pos[0]);
      throw new Error(`${problem.message} at line ${line}, column ${col}`, { cause: problem });
    }
    checkNodes(document);
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    const [line] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    throw refuse("YAML", line.replace(/:$/, ""), cause);
  }
  if (!isObject(value)) throw refuse("a mapping", show(value));
  return value;
}

/** Checks that keys are unique and aliases few. The library's checks take quadratic time. */
function checkNodes(document: Document): void {
  let aliases = 0;
  visit(document, {
    Alias() {
      if (++aliases > MAX_ALIASES) throw new Error(`more than ${MAX_ALIASES} aliases`);
    },
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        const name: unknown = isScalar(key) ? key.value : key;
        if (seen.has(name)) throw new Error("Map keys must be unique");
        seen.add(name);
      }
    },
  });
}

/** An upper bound of the nesting, by brackets or by indentation. */
function depth(text: string): number {
  let open = 0;
  let deepest = 0;
  for (const c of text) {
    if (c === "[" || c === "{") deepest = Math.max(deepest, ++open);
    else if ((c === "]" || c === "}") && open > 0) open--;
  }
  const indentations = new Set<number>();
  for (const [spaces, dashes] of text.matchAll(/^ *((?:[-?:] *)*)/gm)) {
    indentations.add(spaces.length);
    deepest = Math.max(deepest, dashes.length);
  }
  return Math.max(deepest, indentations.size);
}
