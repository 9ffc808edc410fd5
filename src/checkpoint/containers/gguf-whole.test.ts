import { describe, expect, test } from "vitest";
import { fixtureFiles, refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import {
  type Bytes,
  GGUF_PAIR,
  T,
  type Value,
  type WholeTensor,
  ggufFixture,
  ggufPair,
  key,
  keyBytes,
  tensorsOf,
  wholeGguf,
} from "../../../test/helpers/gguf.js";
import { readWhole } from "../../../test/helpers/layouts.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint.js";
import { isLlmAlone, openLlm } from "../open-llm.js";
import { openSafetensors, readTensor } from "../safetensors.js";
import { type ModelFiles, bytesSource, memoryFiles } from "../source.js";

const one = (bytes: Uint8Array, name = "fun-asr-nano.gguf"): ModelFiles =>
  memoryFiles("m", new Map([[name, bytes]]));

/** The tiny transformers directory with a stand-in for its tokenizer. */
function tiny(): Map<string, Uint8Array> {
  return fixtureFiles("tiny").set("tokenizer.json", utf8('{"model":{}}'));
}

/** Both files of the pair in one: the keys of the LLM, and those of the encoder that it has not. */
async function joined(): Promise<Uint8Array> {
  const [encoder, llm] = Object.values(GGUF_PAIR).map((name) => ggufFixture(`pair/${name}`));
  const keys = new Map([...keyBytes(encoder), ...keyBytes(llm)]);
  return wholeGguf([...keys.values()], [...(await tensorsOf(encoder)), ...(await tensorsOf(llm))]);
}

const u64s =
  (numbers: readonly number[]): Value =>
  (b: Bytes) => {
    b.u32(T.array).u32(T.u64).u64(numbers.length);
    for (const n of numbers) b.u64(n);
  };

const TYPES: Readonly<Record<string, number>> = { F32: 0, F16: 1, BF16: 30 };

/** The tiny transformers directory as audio.cpp's converter packs one; `changed` keys take the place of its own. */
async function packed(changed: Readonly<Record<string, Value>> = {}): Promise<Uint8Array> {
  const files = tiny();
  const weights = await openSafetensors(bytesSource("x", files.get("model.safetensors")!));
  const stored = [...weights.tensors.values()];
  const tensors = await Promise.all(
    stored.map(async ({ name, dtype, shape }, i): Promise<WholeTensor> => ({
      name: name.length < 64 ? name : `_audiocpp.${i}`,
      shape: shape.slice(shape.findIndex((size) => size > 1)), // ggml drops outer dimensions of 1
      type: TYPES[dtype],
      data: await readTensor(weights, name),
    })),
  );
  files.delete("model.safetensors");
  const beside = [...files];
  const offsets = beside.reduce((all, [, { length }]) => [...all, all.at(-1)! + length], [0]);
  const values: Record<string, Value> = {
    "general.architecture": "audiocpp",
    "audiocpp.model_spec.family": "fun_asr_nano",
    "audiocpp.embedded_files.names": beside.map(([name]) => name),
    "audiocpp.embedded_files.offsets": u64s(offsets),
    "audiocpp.embedded_files.data": (b) => {
      b.u32(T.array).u32(T.u8).u64(offsets.at(-1)!);
      for (const [, bytes] of beside) b.bytes(bytes);
    },
    "audiocpp.tensor_names": stored.map(({ name }) => name),
    "audiocpp.tensor_ranks": stored.map(({ shape }) => shape.length),
    "audiocpp.tensor_shapes": u64s(stored.flatMap(({ shape }) => shape)),
    ...changed,
  };
  return wholeGguf(
    Object.entries(values).map(([name, value]) => key(name, value)),
    tensors,
  );
}

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

// Plan: the pair in one file, whatever its name; the transformers layout as audio.cpp packs it; each gives the model of its source, as a
// checkpoint and as a language model.
describe("a Fun-ASR in one file", () => {
  test.each(["fun-asr-nano.gguf", "model.gguf", "qwen3-asr.gguf", "funasr-encoder-and-llm.GGUF"])(
    "both halves of the pair: %s",
    async (name) => {
      const files = one(await joined(), name);
      await expectSame(await openCheckpoint(files), await openCheckpoint(ggufPair()));
      expect(await isLlmAlone(files)).toBe(false);
      expect((await openLlm(files)).config).toEqual((await openLlm(ggufPair())).config);
    },
  );

  test("audio.cpp's packing of the transformers layout", async () => {
    const files = one(await packed());
    const want = memoryFiles("hf", tiny());
    await expectSame(await openCheckpoint(files), await openCheckpoint(want));
    expect(await isLlmAlone(files)).toBe(false);
    const [got, llm] = [await openLlm(files), await openLlm(want)];
    expect([...got.tensors.keys()].sort()).toEqual([...llm.tensors.keys()].sort());
  });

  test("its older packing, with the other files as strings", async () => {
    const beside = tiny();
    beside.delete("model.safetensors");
    const texts = [...beside.values()].map((bytes) => new TextDecoder().decode(bytes));
    const bytes = await packed({ "audiocpp.embedded_files.contents": texts });
    await expectSame(await openCheckpoint(one(bytes)), await openCheckpoint(memoryFiles("hf", tiny())));
  });

  test("a detector of voice activity beside it does not count, other weights do", async () => {
    const bytes = await joined();
    const files = (beside: string): ModelFiles =>
      memoryFiles("m", new Map([["a.gguf", bytes], [beside, bytes]])); // prettier-ignore
    await (await openCheckpoint(files("fsmn-vad.gguf"))).close();
    expect((await refusal(() => openCheckpoint(files("b.gguf")))).message).toBe(
      "m: weights: expected model.safetensors, model.pt or a pair of GGUF files, got a.gguf and 1 more; a GGUF model is one file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: name the file that is meant, or download both",
    );
  });
});

// Plan: files that are no whole model, and damaged ones, in one line each.
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
    const bytes = await packed({ [name]: value });
    expect((await refusal(() => openCheckpoint(one(bytes)))).message).toMatch(message);
  });
});
