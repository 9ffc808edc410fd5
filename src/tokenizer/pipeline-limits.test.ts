import fc from "fast-check";
import { expect, it } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { byteOfCharacter } from "./byte-level.js";
import { TokenizerError } from "./errors.js";
import { publishedPatterns } from "./pipeline-limits.js";
import { loadTokenizer } from "./tokenizer.js";

// Plan: a tokenizer whose steps could fill the memory is refused by name. Any pattern is accepted
// and ends, also for hostile texts (vitest's time limit would report a hang). Random pipelines are
// refused or end.
const runs = fuzzRuns(2000);
const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
const vocab = Object.fromEntries(byteOfCharacter);
const split = (Regex: string): object => ({
  type: "Split",
  pattern: { Regex },
  behavior: "Isolated",
  invert: false,
});
const replace = (pattern: object, content: string): object => ({ type: "Replace", pattern, content });
const normalizers = (...list: object[]): object => ({ normalizer: { type: "Sequence", normalizers: list } });
const before = (...list: object[]): object => ({
  pre_tokenizer: { type: "Sequence", pretokenizers: [...list, level] },
});
const load = (fields: object): ReturnType<typeof loadTokenizer> => {
  const plain = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: level,
    post_processor: level,
    decoder: level,
  };
  return loadTokenizer({ ...plain, model: { type: "BPE", vocab, merges: [] }, ...fields });
};
const nested = (levels: number): object =>
  levels === 0 ? level : { type: "Sequence", pretokenizers: [nested(levels - 1)] };

it.each<[string, object, string]>([
  ["Split by a reference", before(split("(a)\\1")), 'a pattern with "\\\\1" in it'],
  [
    "Split by a long pattern",
    before(split("a".repeat(1025))),
    "pre_tokenizer.pretokenizers[0].pattern.Regex",
  ],
  ["Split by no pattern", before(split("(")), "what @huggingface/tokenizers can load"],
  ["Split by a name that is no text", before({ ...split(""), pattern: { Regex: 1 } }), "pattern.Regex"],
  ["Replace of a long text", normalizers(replace({ String: "a".repeat(129) }, "")), "pattern.String"],
  ["Replace that lengthens", normalizers(replace({ String: "a" }, "aaa")), "lengthen a text"],
  ["Replace at every place", normalizers(replace({ Regex: "a*" }, "aa")), "lengthen a text"],
  ["2 that double", normalizers(...Array<object>(2).fill(replace({ String: "a" }, "aa"))), "lengthen a text"],
  ["Replace of nothing", normalizers(replace({ String: "" }, "a")), "normalizers[0].pattern.String"],
  ["40 steps", normalizers(...Array<object>(40).fill({ type: "NFC" })), "at most 8 steps"],
  ["byte levels", before(level, level), "lengthen a text"],
  ["Prepend of a long text", normalizers({ type: "Prepend", prepend: "a".repeat(1025) }), "prepend"],
  ["nested sequences", { pre_tokenizer: nested(3000) }, "at most 8 steps"],
  ["pieces of no length", before({ type: "FixedLength", length: 0 }), "pretokenizers[0].length"],
  [
    "post-processors that repeat",
    {
      post_processor: {
        type: "Sequence",
        processors: Array(2).fill({
          type: "TemplateProcessing",
          single: Array(2).fill({ Sequence: { id: "A", type_id: 0 } }),
        }),
      },
    },
    "lengthen a text",
  ],
  ["merges", { model: { type: "BPE", vocab, merges: Array(400_001).fill("a b") } }, "model.merges"],
  [
    "a long added token",
    { added_tokens: [{ id: 300, content: "a".repeat(1025) }] },
    "added_tokens[0].content",
  ],
  [
    "a long merge",
    { model: { type: "BPE", vocab, merges: ["a b", `a ${"b".repeat(1023)}`] } },
    "model.merges[1]",
  ],
  [
    "added tokens of many characters",
    { added_tokens: Array(300).fill({ id: 300, content: "a".repeat(1000) }) },
    "added_tokens",
  ],
  ["added tokens", { added_tokens: Array(16_385).fill({ id: 300, content: "a" }) }, "added_tokens"],
])("refused: %s", (_, fields, expected) => {
  expect(() => load(fields)).toThrow(TokenizerError);
  expect(() => load(fields)).toThrow(expected);
});

it.each([...publishedPatterns, "\\s+", "[^\\s\\]]+", "(?>\\p{N}{1,3})|\\s++$|(?i:a)", "^a|\\bb", "(?:ab?)*"])(
  "%s takes hostile texts",
  (pattern) => {
    const tokenizer = load(before(split(pattern)));
    for (const unit of [" ", "a", "\n", " \n", "1", "!", "'", "\u0301", " a"]) {
      const count = 20_000 / unit.length;
      const bytes = new TextEncoder().encode(unit).length;
      expect(tokenizer.encode(unit.repeat(count))).toHaveLength(count * bytes);
    }
  },
);

it.each<[string, (pattern: string) => object]>([
  ["Split", (Regex) => before(split(Regex))],
  ["Split, inverted", (Regex) => before({ ...split(Regex), invert: true })],
  ["Split, removed", (Regex) => before({ ...split(Regex), behavior: "Removed" })],
  ["Replace", (Regex) => normalizers(replace({ Regex }, ""))],
  ["Replace between", (Regex) => before(replace({ Regex }, ""))],
  ["in nested sequences", (Regex) => before({ type: "Sequence", pretokenizers: [split(Regex)] })],
])("a pattern with endless backtracking ends at a limit: %s", (_, fields) => {
  const tokenizer = load(fields("(a+)+b"));
  expect(tokenizer.encode("c").length).toBeLessThan(2);
  expect(() => tokenizer.encode("a".repeat(3000) + "c")).toThrow(
    /^tokenizer\.json: pattern "\(a\+\)\+b": expected at most 10000000 steps for a text, got more/,
  );
  expect(tokenizer.encode("c").length).toBeLessThan(2); // the next text has all its steps
});

it("a pattern with endless backtracking on an added token ends too", () => {
  const added_tokens = [{ id: 300, content: "a".repeat(1000), normalized: true }];
  const fields = { added_tokens, ...normalizers(replace({ Regex: "(a+)+c" }, "")) };
  expect(() => load(fields)).toThrow("at most 10000000 steps for a text");
});

it.each([
  ["Split", before(split("a+|b")), "xaab", "xaab"],
  ["Replace puts $ as it stands", normalizers(replace({ Regex: "a|b" }, "$")), "xabc", "x$$c"],
  ["Replace of a text too", normalizers(replace({ String: "ab" }, "$&")), "xabc", "x$&c"],
])("an unpublished pattern works: %s", (_, fields, text, expected) => {
  const tokenizer = load(fields);
  expect(tokenizer.decode(tokenizer.encode(text))).toBe(expected);
});

it("special tokens of tokenizer_config.json are not searched one by one", () => {
  const additional_special_tokens = Array.from({ length: 400_000 }, (_, i) => `<${i}>`);
  const json = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: level,
    post_processor: level,
    decoder: level,
  };
  const model = { type: "BPE", vocab, merges: [] };
  expect(loadTokenizer({ ...json, model }, { additional_special_tokens }).encode("a")).toHaveLength(1);
});

it(`${runs} random pipelines are refused or end`, () => {
  const pattern = fc.oneof(
    fc.record({ Regex: fc.stringMatching(/^[ab.\\s()*+?|[\]{}1,$^]{0,12}$/) }),
    fc.record({ String: fc.string({ maxLength: 3 }) }),
  );
  const step = fc.record({
    type: fc.constantFrom("Replace", "NFC", "NFKD", "Prepend", "Lowercase", "Strip"),
    pattern,
    content: fc.string({ maxLength: 20 }),
    prepend: fc.string(),
  });
  let taken = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 4 }), (steps) => {
      try {
        expect(load(normalizers(...steps)).encode("aab ".repeat(50)).length).toBeLessThan(1_000_000);
        taken++;
      } catch (error) {
        if (!(error instanceof TokenizerError)) throw error;
      }
    }),
    { numRuns: runs, seed: 13 },
  );
  expect(taken).toBeGreaterThan(runs / 20);
});
