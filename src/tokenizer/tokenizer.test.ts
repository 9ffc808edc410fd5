import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { qwen3File, qwen3Tokenizer } from "../../test/helpers/qwen3.js";
import { byteOfCharacter } from "./byte-level.js";
import { TokenizerError } from "./errors.js";
import { checkSpecialTokens, stopTokens, type SpecialTokenSetup } from "./special-tokens.js";
import { loadTokenizer } from "./tokenizer.js";

/** A vocabulary of the 256 bytes, id = byte. */
const byteVocab: Readonly<Record<string, number>> = Object.fromEntries(byteOfCharacter);

interface Golden {
  strings: { text: string; ids: number[]; decoded: string }[];
}

const golden = JSON.parse(
  readFileSync(new URL("../../golden/bundles/tokenizer.json", import.meta.url), "utf8"),
) as Golden;
const UNUSED_ROW = 151_900; // the embedding has rows up to 151,935, the vocabulary ids up to 151,668

// Plan: every golden string gives the ids of Python's tokenizers, and the ids give its text, at
// once and streamed.
describe("golden strings", () => {
  it("are 200 or more", () => expect(golden.strings.length).toBeGreaterThanOrEqual(200));

  it("encode to the same ids", () => {
    const ours = golden.strings.map(({ text }) => ({ text, ids: qwen3Tokenizer().encode(text) }));
    expect(ours).toEqual(golden.strings.map(({ text, ids }) => ({ text, ids })));
  });

  it("decode to the same text", () => {
    expect(golden.strings.map(({ ids }) => qwen3Tokenizer().decode(ids))).toEqual(
      golden.strings.map(({ decoded }) => decoded),
    );
  });

  it("stream to the same text, without half characters", () => {
    for (const { ids, decoded } of golden.strings) {
      const decoder = qwen3Tokenizer().stream();
      const pieces = ids.map((id) => decoder.push(id));
      expect(pieces.join("") + decoder.flush()).toBe(decoded);
      if (!decoded.includes("\ufffd")) expect(pieces.join("")).not.toContain("\ufffd");
    }
  });
});

// Plan: cases without a golden string: split characters, bytes that are not UTF-8, ids without a
// token, skipped special tokens.
describe("decode", () => {
  const tokenizer = qwen3Tokenizer();
  const rare = tokenizer.encode("𐍈"); // four bytes in more than one token

  it("holds back a character until its last byte", () => {
    expect(rare.length).toBeGreaterThan(1);
    const decoder = tokenizer.stream();
    expect(rare.map((id) => decoder.push(id))).toEqual([...rare.slice(1).map(() => ""), "𐍈"]);
    expect(decoder.flush()).toBe("");
  });

  it("gives U+FFFD for an unfinished character, before a token or at the end", () => {
    const imEnd = tokenizer.id("<|im_end|>")!;
    expect(tokenizer.decode([rare[0], imEnd])).toBe("\ufffd<|im_end|>");
    expect(tokenizer.decode([rare[0]])).toBe("\ufffd");
    expect(tokenizer.decode([rare[0], ...tokenizer.encode("a")])).toBe("\ufffda");
  });

  it("keeps a byte order mark", () => {
    expect(tokenizer.decode(tokenizer.encode("\ufeffabc"))).toBe("\ufeffabc");
  });

  it("gives nothing for no ids and for the embedding's unused rows", () => {
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([UNUSED_ROW, ...tokenizer.encode("a"), UNUSED_ROW, 1e9])).toBe("a");
  });

  it("skips special tokens if asked, but not <think>", () => {
    const ids = tokenizer.encode("<|im_start|>a<think>b</think><|im_end|>");
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe("a<think>b</think>");
    expect(tokenizer.decode(ids)).toBe("<|im_start|>a<think>b</think><|im_end|>");
  });

  it("gives the encoded text, in normal form C", () => {
    const check = (text: string): void => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.normalize("NFC"));
    };
    fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), check), { numRuns: 500 });
  });

  it("streams any ids to their decoded text", () => {
    const check = (ids: number[]): void => {
      const decoder = tokenizer.stream();
      const pieces = ids.map((id) => decoder.push(id)).join("");
      expect(pieces + decoder.flush()).toBe(tokenizer.decode(ids));
      expect(pieces).not.toMatch(/\p{Surrogate}/u);
    };
    fc.assert(fc.property(fc.array(fc.nat(151_935), { maxLength: 20 }), check), { numRuns: 500 });
  });
});

// Plan: a file of another kind or a damaged one is refused in one line, with file and field.
describe("loadTokenizer: refusals", () => {
  const small = {
    model: { type: "BPE", vocab: byteVocab, merges: [] },
    decoder: { type: "ByteLevel" },
    added_tokens: [],
  };
  it.each([
    [null, "t.json: top level: expected an object, got null"],
    [[], "t.json: top level: expected an object, got []"],
    [{}, "t.json: model: expected an object, got nothing"],
    [{ ...small, model: { type: "Unigram" } }, 't.json: model.type: expected "BPE", got "Unigram"'],
    [{ ...small, decoder: null }, "t.json: decoder: expected an object, got null"],
    [
      { ...small, decoder: { type: "Metaspace" } },
      't.json: decoder.type: expected "ByteLevel", got "Metaspace"',
    ],
    [{ ...small, added_tokens: null }, "t.json: added_tokens: expected an array, got null"],
    [
      { ...small, added_tokens: [{ id: 1 }] },
      "t.json: added_tokens[0].content: expected a text, got nothing",
    ],
    [
      { ...small, added_tokens: [{ id: 1, content: "" }] },
      't.json: added_tokens[0].content: expected a text, got ""',
    ],
    [small, "t.json: contents: expected what @huggingface/tokenizers can load, got"],
    [
      { ...small, normalizer: null, post_processor: null, pre_tokenizer: { type: "Nonsense" } },
      "t.json: contents: expected",
    ],
  ])("%j", (json, message) => {
    expect(() => loadTokenizer(json, {}, "t.json")).toThrow(TokenizerError);
    expect(() => loadTokenizer(json, {}, "t.json")).toThrow(message);
  });

  const model = (part: object): object => ({ ...small, model: { ...small.model, ...part } });
  const withoutA = Object.fromEntries(Object.entries(byteVocab).filter(([token]) => token !== "a"));
  const joined = { ...byteVocab, ab: 256 };
  it.each([
    ["no vocabulary", model({ vocab: null }), "model.vocab: expected an object of tokens and ids, got null"],
    [
      "an empty vocabulary",
      model({ vocab: {} }),
      'model.vocab: expected a token for each of the 256 bytes, got 0, without "Ā"; the file is damaged',
    ],
    [
      "a vocabulary without one byte",
      model({ vocab: withoutA }),
      'model.vocab: expected a token for each of the 256 bytes, got 255, without "a"',
    ],
    [
      "an id that is none",
      model({ vocab: { ...joined, ab: -1 } }),
      'model.vocab "ab": expected a non-negative integer, got -1',
    ],
    [
      "an id that is a text",
      model({ vocab: { ...joined, ab: "256" } }),
      'model.vocab "ab": expected a non-negative integer, got "256"',
    ],
    [
      "two tokens with one id",
      model({ vocab: { ...joined, ab: 97 } }),
      'model.vocab "ab": expected an id of its own, got 97, the id of "a"',
    ],
    [
      "ids shifted into the added tokens'",
      { ...model({ vocab: joined, merges: [["a", "b"]] }), added_tokens: [{ id: 256, content: "<s>" }] },
      'model.vocab "ab": expected an id of its own, got 256, the id of "<s>"',
    ],
    [
      "an added token below 0",
      { ...small, added_tokens: [{ id: -1, content: "<s>" }] },
      "added_tokens[0].id: expected a non-negative integer, got -1",
    ],
    ["no merges", model({ merges: undefined }), "model.merges: expected an array, got nothing"],
    [
      "an empty list of merges",
      model({ vocab: joined }),
      'model.merges: expected merges that make "ab" and the like, got none',
    ],
  ])("%s", (_, json, message) => {
    expect(() => loadTokenizer(json, {}, "t.json")).toThrow(TokenizerError);
    expect(() => loadTokenizer(json, {}, "t.json")).toThrow(`t.json: ${message}`);
  });

  it("does not add tokens of a template post-processor", () => {
    const json = {
      added_tokens: [{ id: 256, content: "<s>", special: true }],
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [],
        special_tokens: { "<s>": { id: "<s>", ids: [256], tokens: ["<s>"] } },
      },
      decoder: { type: "ByteLevel" },
      model: { type: "BPE", vocab: byteVocab, merges: [] },
    };
    const tiny = loadTokenizer(json);
    expect([tiny.encode("ab"), tiny.encode("a<s>b")]).toEqual([
      [97, 98],
      [97, 256, 98],
    ]);
  });

  it("needs no tokenizer_config.json", () => {
    const bare = loadTokenizer(qwen3File("tokenizer.json"));
    expect(bare.encode("Hello, 世界<|im_end|>")).toEqual(qwen3Tokenizer().encode("Hello, 世界<|im_end|>"));
  });
});

// Plan: the ids of Qwen3 and their stop list. Each contradiction between the files is refused by
// name.
describe("checkSpecialTokens", () => {
  const ids = {
    imStart: 151644,
    imEnd: 151645,
    endOfText: 151643,
    audio: 151646,
    audioToken: "<|object_ref_start|>",
  };
  it.each([
    [undefined, [151645, 151643]],
    [null, [151645, 151643]],
    [151645, [151645, 151643]],
    [
      [151643, 7],
      [151645, 151643, 7],
    ],
  ])("eos_token_id %j", (eosTokenId, stop) => {
    const got = checkSpecialTokens(qwen3Tokenizer(), {
      audioTokenId: 151646,
      vocabSize: 151_936,
      eosTokenId,
    });
    expect(got).toEqual({ ...ids, stop });
  });

  it("accepts another audio token", () => {
    const setup = { audioTokenId: 151655, audioToken: "<|image_pad|>" };
    expect(checkSpecialTokens(qwen3Tokenizer(), setup)).toEqual({
      ...ids,
      audio: 151655,
      audioToken: "<|image_pad|>",
      stop: [151645, 151643],
    });
  });

  it.each<[SpecialTokenSetup, string]>([
    [
      { audioTokenId: 151647 },
      "config.json: audio_token_id: expected 151646, the tokenizer's id of <|object_ref_start|>, got 151647",
    ],
    [
      { audioTokenId: 151646, audioToken: "<|audio|>" },
      "tokenizer.json: <|audio|>: expected a token of the vocabulary, got nothing",
    ],
    [
      { audioTokenId: 151646, vocabSize: 151_645 },
      "tokenizer.json: id of <|im_end|>: expected an id below vocab_size 151645, got 151645",
    ],
    [
      { audioTokenId: 151646, eosTokenId: "x" },
      'generation_config.json: eos_token_id: expected token ids, got "x"',
    ],
    [
      { audioTokenId: 151646, eosTokenId: [1, -1] },
      "generation_config.json: eos_token_id: expected token ids, got [1, -1]",
    ],
    [
      { audioTokenId: 151646, vocabSize: 151_936, eosTokenId: 151_936 },
      "eos_token_id: expected token ids below 151936, got 151936",
    ],
    [{ audioTokenId: 1, configFile: "d/config.json" }, "d/config.json: audio_token_id: expected"],
  ])("refuses %j", (setup, message) => {
    expect(() => checkSpecialTokens(qwen3Tokenizer(), setup)).toThrow(TokenizerError);
    expect(() => checkSpecialTokens(qwen3Tokenizer(), setup)).toThrow(message);
  });

  it("refuses ids without a row of the embedding, also for a language model", () => {
    const json = qwen3File("tokenizer.json");
    const part = json["model"] as { vocab: Record<string, number> };
    const vocab = { ...part.vocab, Hello: 200_000 };
    const shifted = loadTokenizer({ ...json, model: { ...part, vocab } });
    const message =
      'tokenizer.json: model.vocab: expected ids below the model\'s vocab_size 151936, got 200000 of "Hello"';
    const setup = { audioTokenId: 151646, vocabSize: 151_936 };
    expect(() => checkSpecialTokens(shifted, setup)).toThrow(message);
    expect(() => stopTokens(shifted, setup)).toThrow(message);
    const added =
      /^tokenizer\.json: added_tokens\[25\]: expected ids below .* 151668, got 151668 of "<\/think>"/;
    expect(() => stopTokens(qwen3Tokenizer(), { vocabSize: 151_668 })).toThrow(added);
    expect(stopTokens(qwen3Tokenizer(), { vocabSize: 151_669 })).toEqual([151645, 151643]);
  });

  it.each(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|object_ref_start|>"])(
    "refuses a vocabulary without %s",
    (token) => {
      const without = {
        ...qwen3Tokenizer(),
        id: (name: string) => (name === token ? undefined : qwen3Tokenizer().id(name)),
      };
      const message = `tokenizer.json: ${token}: expected a token of the vocabulary, got nothing`;
      expect(() => checkSpecialTokens(without, { audioTokenId: 151646 })).toThrow(message);
    },
  );
});
