import { type JsonObject, isObject, show } from "../json.js";
import { TokenizerError } from "./errors.js";

/** Normalisers, pre-tokenisers or post-processors at most, and levels of `Sequence`. Qwen3 has 1, 2 and 1. */
const mostSteps = 8;
/** Times that the steps together may lengthen a text. Qwen3's byte level takes 3: the UTF-8 bytes of a UTF-16 unit. */
const mostGrowth = 64;
/** Longest pattern, replacement and content of an added token, in characters. */
const mostCharacters = 1024;
/** Merges and tokens at most. Qwen3 has 151,387 and 151,669. */
const mostEntries = 400_000;
const mostAddedTokens = 16_384;

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|";
const spaces = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Patterns of published byte-level tokenizers. Each takes time linear in the text. */
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

/** One character or class after the other, of which only the last may repeat: no text makes such a pattern go back. */
const plainPattern =
  /^(?:\\[pP]\{\w+\}|\\[^1-9a-zA-Z]|\\[dDsSwWrnt]|\[(?:[^[\]\\]|\\.)+\]|[^\\()[\]{}*+?|^$])+(?:\+|\{[1-9]\d?(?:,\d{0,2})?\})?$/su;

/**
 * Checks that no text of a prompt makes a tokenizer hang or fill the memory, before the library sees it: patterns are published ones or
 * plain ones, steps are few and lengthen a text 64 times at most, vocabulary and merges are of a size that is read within seconds.
 * @param json  tokenizer.json, an object
 * @throws TokenizerError
 */
export function checkPipeline(file: string, json: JsonObject): void {
  const normalizer = new Steps(file, "normalizer", ["normalizers"]);
  normalizer.check(json.normalizer, normalizer.stage);
  const before = new Steps(file, "pre_tokenizer", ["pretokenizers"]);
  before.check(json.pre_tokenizer, before.stage);
  const after = new Steps(file, "post_processor", ["processors"]);
  after.check(json.post_processor, after.stage);
  checkSizes(file, json);
}

function checkSizes(file: string, { model, added_tokens: added }: JsonObject): void {
  const most = (field: string, limit: number, count: number, what = "entries"): void => {
    if (count > limit) throw new TokenizerError(file, field, `at most ${limit} ${what}`, count);
  };
  if (isObject(model)) {
    const { merges, vocab } = model;
    if (Array.isArray(merges)) most("model.merges", mostEntries, merges.length);
    if (isObject(vocab)) most("model.vocab", mostEntries, Object.keys(vocab).length);
  }
  if (!Array.isArray(added)) return;
  most("added_tokens", mostAddedTokens, added.length);
  added.forEach((token: unknown, i) => {
    if (isObject(token) && typeof token.content === "string")
      most(`added_tokens[${i}].content`, mostCharacters, token.content.length, "characters");
  });
}

/** The steps of one stage, counted over its nested sequences. */
class Steps {
  #count = 0;
  #growth = 1;

  constructor(
    readonly file: string,
    readonly stage: string,
    readonly lists: readonly string[],
  ) {}

  check(step: unknown, field: string): void {
    if (!isObject(step)) return; // the library refuses what is neither null nor an object
    if (++this.#count > mostSteps) throw this.#refusal(this.stage, `at most ${mostSteps} steps`, "more");
    for (const list of this.lists) {
      const parts = step[list];
      if (Array.isArray(parts)) parts.forEach((part, i) => this.check(part, `${field}.${list}[${i}]`));
    }
    const shortest = "pattern" in step ? this.#pattern(step.pattern, `${field}.pattern`) : 1;
    this.#grow(step, field, shortest);
    if (step.type === "FixedLength" && !(Number.isSafeInteger(step.length) && Number(step.length) > 0))
      throw this.#refusal(`${field}.length`, "a positive integer", show(step.length));
  }

  /** @returns characters of the shortest match */
  #pattern(pattern: unknown, field: string): number {
    if (!isObject(pattern)) throw this.#refusal(field, "an object with String or Regex", show(pattern));
    const kind = "Regex" in pattern ? "Regex" : "String";
    const text = pattern[kind];
    if (typeof text !== "string" || text === "" || text.length > mostCharacters)
      throw this.#refusal(`${field}.${kind}`, `a text of 1 to ${mostCharacters} characters`, show(text));
    if (kind === "String") return text.length;
    if (!publishedPatterns.has(text) && !plainPattern.test(text)) {
      const expected =
        "a published tokenizer's pattern, or characters and classes of which the last may repeat";
      throw this.#refusal(`${field}.Regex`, expected, show(text), "other patterns can take for ever");
    }
    return 1;
  }

  /** Multiplies by what a step can do to the length of a text. */
  #grow(step: JsonObject, field: string, shortest: number): void {
    const length = (name: string): number => {
      const text = step[name] ?? "";
      if (typeof text !== "string" || text.length > mostCharacters)
        throw this.#refusal(`${field}.${name}`, `a text of at most ${mostCharacters} characters`, show(text));
      return text.length;
    };
    const { type, content } = step;
    if (type === "Replace" && typeof content === "string" && content.includes("$"))
      throw this.#refusal(`${field}.content`, 'a text without "$"', show(content));
    let growth = 1;
    if (step.type === "Replace") growth = length("content") / shortest;
    else if (step.type === "Metaspace") growth = 1 + length("replacement") + length("str_rep");
    else if (step.type === "ByteLevel") growth = 3;
    else if (step.type === "Prepend") growth = 1 + length("prepend") / mostGrowth;
    else if (step.type === "TemplateProcessing") growth = Array.isArray(step.single) ? step.single.length : 1;
    this.#growth *= Math.max(1, growth);
    if (this.#growth > mostGrowth)
      throw this.#refusal(field, `steps that lengthen a text at most ${mostGrowth} times`, "more");
  }

  #refusal(field: string, expected: string, got: string, advice?: string): TokenizerError {
    return new TokenizerError(this.file, field, expected, got, advice === undefined ? {} : { advice });
  }
}
