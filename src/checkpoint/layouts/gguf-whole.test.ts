import { describe, expect, test } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { GGUF_PAIR, type Value, ggufFixture, ggufPair } from "../../../test/helpers/gguf.js";
import { joinedPair, packedTransformers, tinyTransformers, u64s } from "../../../test/helpers/gguf-whole.js";
import { readWhole } from "../../../test/helpers/layouts.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint.js";
import { isLlmAlone, openLlm } from "../migrate/open-llm.js";
import { type ModelFiles, memoryFiles } from "../source.js";

const one = (bytes: Uint8Array, name = "fun-asr-nano.gguf"): ModelFiles =>
  memoryFiles("m", new Map([[name, bytes]]));

async function expectSame(got: Checkpoint, want: Checkpoint): Promise<void> {
  expect([...got.tensors.keys()].sort()).toEqual([...want.tensors.keys()].sort());
  for (const [name, { shape, dtype }] of want.tensors) {
    expect(got.tensors.get(name)).toMatchObject({ name, shape, dtype });
    expect(await readWhole(got, name)).toEqual(await readWhole(want, name));
  }
  expect({ ...got.config, raw: {} }).toEqual({ ...want.config, raw: {} });
  for (const part of ["frontend", "tokenizer", "generation", "prompt"] as const) {
    const [a, b] = await Promise.all([got, want].map(({ assets }) => assets[part]()));
    expect("json" in a ? a.json : Object.keys(a)).toEqual("json" in b ? b.json : Object.keys(b));
  }
}

// Plan: a pair in one file of any name, and the transformers layout in audio.cpp's packing. Each
// gives the model of its source, as a checkpoint and as a language model.
describe("a Fun-ASR in one file", () => {
  test.each(["fun-asr-nano.gguf", "model.gguf", "qwen3-asr.gguf", "funasr-encoder-and-llm.GGUF"])(
    "both halves of the pair: %s",
    async (name) => {
      const files = one(await joinedPair(), name);
      await expectSame(await openCheckpoint(files), await openCheckpoint(ggufPair()));
      expect(await isLlmAlone(files)).toBe(false);
      expect((await openLlm(files)).config).toEqual((await openLlm(ggufPair())).config);
    },
  );

  test("audio.cpp's packing of the transformers layout", async () => {
    const files = one(await packedTransformers());
    const want = memoryFiles("hf", tinyTransformers());
    await expectSame(await openCheckpoint(files), await openCheckpoint(want));
    expect(await isLlmAlone(files)).toBe(false);
    const [got, llm] = [await openLlm(files), await openLlm(want)];
    expect([...got.tensors.keys()].sort()).toEqual([...llm.tensors.keys()].sort());
  });

  test("audio.cpp's older packing, with the other files as strings", async () => {
    const beside = tinyTransformers();
    beside.delete("model.safetensors");
    const texts = [...beside.values()].map((bytes) => new TextDecoder().decode(bytes));
    const bytes = await packedTransformers({ "audiocpp.embedded_files.contents": texts });
    await expectSame(
      await openCheckpoint(one(bytes)),
      await openCheckpoint(memoryFiles("hf", tinyTransformers())),
    );
  });

  test("a voice activity detector beside it does not count; other weights do", async () => {
    const bytes = await joinedPair();
    const files = (beside: string): ModelFiles =>
      memoryFiles("m", new Map([["a.gguf", bytes], [beside, bytes]])); // prettier-ignore
    await (await openCheckpoint(files("fsmn-vad.gguf"))).close();
    expect((await refusal(() => openCheckpoint(files("b.gguf")))).message).toBe(
      "m: weights: expected model.safetensors, model.pt or a pair of GGUF files, got a.gguf and 1 more; a GGUF model is one file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: name the file that is meant, or download both",
    );
  });
});

// Plan: files that are not a Fun-ASR, and damaged ones, each in one line.
describe("refused", () => {
  const advice =
    "a GGUF model is one such file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: download both";

  test.each([
    [GGUF_PAIR.llm, '"qwen3", 24 tensors'],
    [GGUF_PAIR.encoder, '"funasr-sensevoice-encoder", 105 tensors'],
  ])("%s alone, under another name", async (half, got) => {
    const error = await refusal(() => openCheckpoint(one(ggufFixture(`pair/${half}`), "a.gguf")));
    expect(error.message).toBe(`m/a.gguf: content: expected a whole Fun-ASR, got ${got}; ${advice}`);
  });

  test.each<[string, Value, RegExp]>([
    [
      "audiocpp.tensor_names",
      ["a"],
      /^m\/fun-asr-nano\.gguf: metadata "audiocpp\.tensor_names": expected \d+ names, got an array of 1 string$/,
    ],
    ["audiocpp.tensor_ranks", [1], /"audiocpp\.tensor_ranks": expected \d+ ranks, got an array of 1 i32$/],
    [
      "audiocpp.tensor_shapes",
      [1, 2],
      /"audiocpp\.tensor_shapes": expected the shape of tensor ".*", \[.*\], got an array of 2 i32$/,
    ],
    ["audiocpp.tensor_shapes", "x", /"audiocpp\.tensor_shapes": expected an array of .*, got "x"$/],
    [
      "audiocpp.embedded_files.offsets",
      u64s([0, 9e15]),
      /"audiocpp\.embedded_files\.offsets": expected rising offsets within \d+ bytes, got/,
    ],
    ["audiocpp.embedded_files.offsets", u64s([5, 2]), /offsets": expected rising offsets/],
    [
      "audiocpp.embedded_files.offsets",
      u64s([0, 2]),
      /names": expected 1 names, got an array of \d+ string$/,
    ],
    ["audiocpp.embedded_files.names", "x", /names": expected an array of string, got "x"$/],
    ["audiocpp.embedded_files.data", "x", /data": expected an array of u8, got "x"$/],
  ])("%s of %j", async (name, value, message) => {
    const bytes = await packedTransformers({ [name]: value });
    expect((await refusal(() => openCheckpoint(one(bytes)))).message).toMatch(message);
  });
});
