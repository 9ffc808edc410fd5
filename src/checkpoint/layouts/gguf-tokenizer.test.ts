import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { ggufFixture, rawGguf } from "../../../test/helpers/gguf.js";
import type { Value } from "../../../test/helpers/gguf.js";
import { qwen3File, qwen3Tokenizer } from "../../../test/helpers/qwen3.js";
import { byteOfCharacter } from "../../tokenizer/byte-level.js";
import { loadTokenizer } from "../../tokenizer/tokenizer.js";
import type { Tokenizer } from "../../tokenizer/tokenizer.js";
import { openGguf } from "../gguf/gguf.js";
import type { GgufMetadata } from "../gguf/metadata.js";
import { bytesSource } from "../source.js";
import { audioTokenId, generationJson, tokenizerJson } from "./gguf-tokenizer.js";

interface GoldenString {
  readonly text: string;
  readonly ids: readonly number[];
}

interface Vocabulary {
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly [string, string][];
  };
  readonly added_tokens: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
}

const ROWS = 151_936; // of Qwen3's embedding

async function metadataOf(bytes: Uint8Array): Promise<GgufMetadata> {
  return (await openGguf(bytesSource("m.gguf", bytes))).metadata;
}

function goldenStrings(path: string): (GoldenString & { readonly decoded?: string })[] {
  const text = readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
  return (JSON.parse(text) as { strings: GoldenString[] }).strings;
}

/** The keys that llama.cpp's converter writes for a vocabulary. */
function vocabularyKeys({ model, added_tokens: added }: Vocabulary, rows: number): [string, Value][] {
  const tokens = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(rows).fill(5);
  for (const [token, id] of Object.entries(model.vocab)) [tokens[id], types[id]] = [token, 1];
  for (const { id, content, special } of added)
    [tokens[id], types[id]] = [content, special || /^<\|.*\|>$/.test(content) ? 3 : 4];
  return [
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.pre", "qwen2"],
    ["tokenizer.ggml.tokens", tokens],
    ["tokenizer.ggml.token_type", types],
    ["tokenizer.ggml.merges", model.merges.map((pair) => pair.join(" "))],
    ["tokenizer.ggml.eos_token_id", 151_645],
  ];
}

// Plan: the real vocabulary becomes GGUF metadata and then tokenizer.json. On every golden string
// it gives the ids of Python's tokenizers. The same for a pruned vocabulary of gguf-py.
describe("Qwen3's vocabulary", () => {
  let loaded: Promise<{ tokenizer: Tokenizer; metadata: GgufMetadata }> | undefined;
  const load = (): NonNullable<typeof loaded> => (loaded ??= build());
  const build = async (): Promise<{ tokenizer: Tokenizer; metadata: GgufMetadata }> => {
    const real = qwen3File("tokenizer.json") as unknown as Vocabulary;
    const metadata = await metadataOf(rawGguf({ values: vocabularyKeys(real, ROWS) }));
    return { metadata, tokenizer: loadTokenizer(tokenizerJson(metadata), {}, "m.gguf") };
  };
  const golden = goldenStrings("golden/bundles/tokenizer.json");

  it("encodes the golden strings to the same ids, and decodes them", async () => {
    const { tokenizer } = await load();
    expect(golden.length).toBeGreaterThan(250);
    expect(golden.map(({ text }) => tokenizer.encode(text))).toEqual(golden.map(({ ids }) => ids));
    expect(golden.map(({ ids }) => tokenizer.decode(ids))).toEqual(golden.map((s) => s.decoded));
  });

  it("has the same added tokens, and no unused rows", async () => {
    const { tokenizer, metadata } = await load();
    expect(tokenizer.addedTokens).toEqual(qwen3Tokenizer().addedTokens);
    expect(tokenizer.id("[PAD151669]")).toBeUndefined();
    expect(tokenizer.decode([151_900, 64])).toBe("a");
    expect(audioTokenId(metadata)).toBe(151_646);
    expect(generationJson(metadata)).toEqual({ eos_token_id: 151_645 });
  });

  it("equals tokenizer.json, but for the tokens that llama.cpp calls special", async () => {
    const { metadata } = await load();
    const real = qwen3File("tokenizer.json");
    const made = tokenizerJson(metadata);
    for (const part of ["normalizer", "pre_tokenizer", "post_processor", "decoder"])
      expect(made[part]).toEqual(real[part]);
    const { vocab, merges, ...rest } = real["model"] as Vocabulary["model"];
    const { vocab: madeVocab, merges: madeMerges, ...madeRest } = made["model"] as Vocabulary["model"];
    expect(madeRest).toEqual(rest);
    expect(madeMerges).toEqual(merges);
    expect(Object.entries(madeVocab).every(([token, id]) => vocab[token] === id)).toBe(true);
    expect(Object.keys(madeVocab).length).toBe(Object.keys(vocab).length);
    const special = (list: unknown): string[] =>
      (list as Vocabulary["added_tokens"]).filter((t) => t.special).map((t) => t.content);
    const more = special(made["added_tokens"]).filter((t) => !special(real["added_tokens"]).includes(t));
    expect(more).toEqual([
      "<|fim_prefix|>",
      "<|fim_middle|>",
      "<|fim_suffix|>",
      "<|fim_pad|>",
      "<|repo_name|>",
      "<|file_sep|>",
    ]);
  });
});

describe("a pruned vocabulary of gguf-py", () => {
  it("encodes as Python's tokenizers", async () => {
    const tokenizer = loadTokenizer(
      tokenizerJson(await metadataOf(ggufFixture("qwen3-tiny-q4km.gguf"))),
      {},
      "m.gguf",
    );
    const strings = goldenStrings("test/fixtures/gguf/vocabulary.json");
    expect(strings.length).toBeGreaterThan(5);
    expect(strings.map(({ text }) => tokenizer.encode(text))).toEqual(strings.map(({ ids }) => ids));
    for (const { text, ids } of strings) expect(tokenizer.decode(ids)).toBe(text.normalize("NFC"));
  });
});

// Plan: other kinds of vocabulary and damaged ones. Each error is tested in full.
describe("refusals", () => {
  const small: Readonly<Record<string, Value | undefined>> = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<|im_end|>"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3],
    "tokenizer.ggml.merges": ["a b"],
  };
  it.each<[string, Value | undefined, string]>([
    ["model", "llama", 'expected "gpt2", got "llama"; nothing else is implemented'],
    ["pre", "llama-bpe", 'expected "qwen2", got "llama-bpe"; nothing else is implemented'],
    ["pre", undefined, "expected a string, got nothing"],
    ["token_type", undefined, "expected an array of u8 or i8 or u16 or i16 or u32 or i32, got nothing"],
    ["token_type", [1, 1, 1], "expected a type for each of 4 tokens, got an array of 3 i32"],
    ["token_type", [1, 1, 1, 2], "expected type 1, 3, 4 or 5 for token 3, not 2, got an array of 4 i32"],
    [
      "token_type",
      [1, 1, 5, 3],
      'expected a merge of two tokens into one at 0, not "a b", got an array of 1 string',
    ],
    ["tokens", ["a", "b", "a", "ab"], 'expected another token at 2 than "a", got an array of 4 string'],
    ["tokens", ["a", "b", "", "ab"], 'expected another token at 2 than "", got an array of 4 string'],
    ["merges", undefined, "expected an array of string, got nothing"],
    ["merges", ["a c"], 'expected a merge of two tokens into one at 0, not "a c", got an array of 1 string'],
    ["merges", ["ab"], 'expected a merge of two tokens into one at 0, not "ab", got an array of 1 string'],
    ["merges", ["b a"], 'expected a merge of two tokens into one at 0, not "b a", got an array of 1 string'],
  ])("%s %j", async (key, value, message) => {
    const keys = { ...small, [`tokenizer.ggml.${key}`]: value };
    const values = Object.entries(keys).flatMap(([k, v]) => (v === undefined ? [] : [[k, v] as const]));
    const metadata = await metadataOf(rawGguf({ values }));
    const field = message.startsWith("expected a merge") ? "merges" : key;
    const error = await refusal(() => tokenizerJson(metadata));
    expect(error.message).toBe(`m.gguf: metadata "tokenizer.ggml.${field}": ${message}`);
  });

  it("accepts the valid metadata", async () => {
    const bytes = [...byteOfCharacter.keys()];
    const whole: typeof small = {
      ...small,
      "tokenizer.ggml.tokens": [...bytes, "ab", "<|im_end|>"],
      "tokenizer.ggml.token_type": [...bytes.map(() => 1), 1, 3],
    };
    const values = Object.entries(whole).flatMap(([k, v]) => (v === undefined ? [] : [[k, v] as const]));
    const tokenizer = loadTokenizer(tokenizerJson(await metadataOf(rawGguf({ values }))), {}, "m.gguf");
    expect(tokenizer.encode("abba<|im_end|>")).toEqual([256, 98, 97, 257]);
  });
});
