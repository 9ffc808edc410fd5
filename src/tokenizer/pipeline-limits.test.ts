import fc from "fast-check";
import { expect, it } from "vitest";
import { byteOfCharacter } from "./byte-level.js";
import { TokenizerError } from "./errors.js";
import { publishedPatterns } from "./pipeline-limits.js";
import { loadTokenizer } from "./tokenizer.js";

// Plan: a tokenizer whose steps could take for ever or fill the memory is refused by name; published and plain patterns are taken, and
// take hostile texts (vitest's limit of time catches a hang); random pipelines are refused or end.
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
  [
    "Split that backtracks",
    before(split("((?:\\s|\\S)+)+\\u0000|.")),
    "pre_tokenizer.pretokenizers[0].pattern.Regex",
  ],
  ["Split by (a+)+$", before(split("(a+)+$")), "pre_tokenizer.pretokenizers[0].pattern.Regex"],
  ["Split by many stars", before(split(".*.*.*.*x")), "pre_tokenizer.pretokenizers[0].pattern.Regex"],
  ["Split by a reference", before(split("(a)\\1")), "pre_tokenizer.pretokenizers[0].pattern.Regex"],
  ["Split by a name that is no text", before({ ...split(""), pattern: { Regex: 1 } }), "pattern.Regex"],
  ["Replace that backtracks", normalizers(replace({ Regex: "(a|a)*b" }, "")), "normalizers[0].pattern.Regex"],
  ["Replace that doubles by $&", normalizers(replace({ Regex: "." }, "$&$&")), "normalizers[0].content"],
  ["Replace that lengthens", normalizers(replace({ String: "a" }, "a".repeat(65))), "lengthen a text"],
  ["7 that double", normalizers(...Array<object>(7).fill(replace({ String: "a" }, "aa"))), "lengthen a text"],
  ["Replace of nothing", normalizers(replace({ String: "" }, "a")), "normalizers[0].pattern.String"],
  ["40 steps", normalizers(...Array<object>(40).fill({ type: "NFC" })), "at most 8 steps"],
  ["byte levels", before(level, level, level), "lengthen a text"],
  ["Prepend of a long text", normalizers({ type: "Prepend", prepend: "a".repeat(1025) }), "prepend"],
  ["nested sequences", { pre_tokenizer: nested(3000) }, "at most 8 steps"],
  ["pieces of no length", before({ type: "FixedLength", length: 0 }), "pretokenizers[0].length"],
  [
    "post-processors that repeat",
    {
      post_processor: {
        type: "Sequence",
        processors: Array(7).fill({
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
  ["added tokens", { added_tokens: Array(16_385).fill({ id: 300, content: "a" }) }, "added_tokens"],
])("refused: %s", (_, fields, expected) => {
  expect(() => load(fields)).toThrow(TokenizerError);
  expect(() => load(fields)).toThrow(expected);
});

it.each([...publishedPatterns, " ", "\\d+", "[0-9]{1,3}", "\\p{N}", "[^\\s\\]]+", "\\s+"])(
  "%s takes hostile texts",
  (pattern) => {
    const tokenizer = load(before(split(pattern)));
    for (const unit of [" ", "a", "\n", " \n", "1", "!", "'", "\u0301", " a"]) {
      const count = 40_000 / unit.length;
      const bytes = new TextEncoder().encode(unit).length;
      expect(tokenizer.encode(unit.repeat(count))).toHaveLength(count * bytes);
    }
  },
);

it("10,000 random pipelines are refused or end", () => {
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
    { numRuns: 10_000, seed: 13 },
  );
  expect(taken).toBeGreaterThan(500);
});
