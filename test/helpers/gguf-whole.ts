import { openSafetensors, readTensor } from "../../src/checkpoint/safetensors/safetensors.js";
import { bytesSource } from "../../src/checkpoint/source.js";
import { fixtureFiles, utf8 } from "./checkpoint.js";
import {
  type Bytes,
  GGUF_PAIR,
  T,
  type Value,
  type WholeTensor,
  ggufFixture,
  key,
  keyBytes,
  tensorsOf,
  wholeGguf,
} from "./gguf.js";

/** The tiny transformers directory with a stand-in for its tokenizer. */
export function tinyTransformers(): Map<string, Uint8Array> {
  return fixtureFiles("tiny").set("tokenizer.json", utf8('{"model":{}}'));
}

/** Both files of the pair in one: the keys of the LLM, and those of the encoder that it has not. */
export async function joinedPair(): Promise<Uint8Array> {
  const [encoder, llm] = Object.values(GGUF_PAIR).map((name) => ggufFixture(`pair/${name}`));
  const keys = new Map([...keyBytes(encoder), ...keyBytes(llm)]);
  return wholeGguf([...keys.values()], [...(await tensorsOf(encoder)), ...(await tensorsOf(llm))]);
}

/** An array of u64. */
export const u64s =
  (numbers: readonly number[]): Value =>
  (b: Bytes) => {
    b.u32(T.array).u32(T.u64).u64(numbers.length);
    for (const n of numbers) b.u64(n);
  };

const TYPES: Readonly<Record<string, number>> = { F32: 0, F16: 1, BF16: 30 };

/**
 * The tiny transformers directory as audio.cpp's converter packs one; `changed` keys take the place
 * of its own.
 */
export async function packedTransformers(changed: Readonly<Record<string, Value>> = {}): Promise<Uint8Array> {
  const files = tinyTransformers();
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
