import { Tokenizer as Untyped } from "@huggingface/tokenizers";
import { type JsonObject, isObject, reason, show } from "../json.js";
import { BoundedPattern, PatternBudget, PatternLimitError } from "./bounded-pattern.js";
import { TokenizerError } from "./errors.js";
import { publishedPatterns } from "./pipeline-limits.js";
import { UnsupportedPatternError } from "./regex-program.js";

/** The used part of the package's class, whose declarations do not resolve under nodenext. */
export interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  id_to_token(id: number): string | undefined;
  token_to_id(token: string): number | undefined;
}

/** A normaliser or pre-tokeniser of the library. */
interface Step {
  pattern?: unknown;
  readonly config?: JsonObject;
  readonly normalizers?: readonly (Step | null)[];
  readonly tokenizers?: readonly (Step | null)[];
}

const Base = Untyped as unknown as new (tokenizer: JsonObject, config: JsonObject) => Library;

/** The tokenizer under construction, whose patterns are replaced in its constructor. */
let constructing: { readonly budget: PatternBudget; replaced: number } | undefined;

/** Replaces patterns as the constructor sets them. */
class Patterned extends Base {
  set normalizer(step: Step | null) {
    Object.defineProperty(this, "normalizer", { value: boundPatterns(step) });
  }
  set pre_tokenizer(step: Step | null) {
    Object.defineProperty(this, "pre_tokenizer", { value: boundPatterns(step) });
  }
}

function boundPatterns(step: Step | null): Step | null {
  for (const part of step?.normalizers ?? step?.tokenizers ?? []) boundPatterns(part);
  if (!step || !constructing || !needsBounds(step.config)) return step;
  const { source } = step.pattern as RegExp;
  try {
    const { Regex, String: text } = step.config?.pattern as JsonObject;
    step.pattern = new BoundedPattern(source, constructing.budget, show(Regex ?? text));
  } catch (error) {
    if (!(error instanceof UnsupportedPatternError)) throw error;
    throw new Error(`a pattern with ${error.message}`, { cause: error });
  }
  constructing.replaced++;
  return step;
}

/** True for a step with an unpublished pattern, or with "$" in its replacement. */
function needsBounds(step: unknown): step is JsonObject {
  if (!isObject(step) || !isObject(step.pattern)) return false;
  const { Regex } = step.pattern;
  if (typeof Regex === "string" && !publishedPatterns.has(Regex)) return true;
  return typeof step.content === "string" && step.content.includes("$");
}

function countBounded(step: unknown): number {
  if (!isObject(step)) return 0;
  const parts = [step.normalizers, step.pretokenizers].filter((list) => Array.isArray(list)).flat();
  return Number(needsBounds(step)) + parts.reduce((sum: number, part) => sum + countBounded(part), 0);
}

/**
 * The library's tokenizer, with BoundedPatterns for all patterns that are not published ones.
 * @param json  tokenizer.json, accepted by checkPipeline
 * @throws TokenizerError  the library cannot load it; from encode: a pattern takes too many steps
 */
export function openLibrary(file: string, json: JsonObject, config: JsonObject): Library {
  const budget = new PatternBudget();
  const bounded = <T>(run: () => T): T => {
    budget.reset();
    try {
      return run();
    } catch (error) {
      if (!(error instanceof PatternLimitError)) throw error;
      const { pattern, limit } = error;
      const advice = "the pattern goes back again and again: take a published tokenizer's";
      throw new TokenizerError(file, `pattern ${pattern}`, `at most ${limit} for a text`, "more", { advice });
    }
  };
  constructing = { budget, replaced: 0 };
  try {
    // only the library's decoder uses the list of special tokens, which takes quadratic time
    const library = bounded(
      () => new Patterned(json, { ...config, additional_special_tokens: [] }),
    ) as Library;
    const expected = countBounded(json.normalizer) + countBounded(json.pre_tokenizer);
    if (constructing.replaced !== expected)
      throw new Error(`${constructing.replaced} of ${expected} patterns are bounded`);
    return {
      encode: (text, options) => bounded(() => library.encode(text, options)),
      id_to_token: (id) => library.id_to_token(id),
      token_to_id: (token) => library.token_to_id(token),
    };
  } catch (cause) {
    if (cause instanceof TokenizerError) throw cause;
    const expected = "what @huggingface/tokenizers can load";
    throw new TokenizerError(file, "contents", expected, `"${reason(cause)}"`, { cause });
  } finally {
    constructing = undefined;
  }
}
