import { describe, expect, test } from "vitest";
import { GGML_BLOCKS, type GgmlType } from "../src/formats/container.js";
import { dequantizeBlocks } from "../src/formats/ggml-blocks.js";
import { memoryFiles } from "../src/checkpoint/source.js";
import { Transcriber } from "../src/decode/transcriber.js";
import type { WeightFormat } from "../src/weights/loader.js";
import { random, useGpu, values } from "./gpu.js";
import { type Retyped, ggufFixture, rewriteGguf } from "./helpers/gguf.js";

const gpu = useGpu();
const TYPES = { Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8 } as const;

/**
 * The matrices of a quantised Qwen3 as random blocks of a type, or as the f32 that those blocks
 * stand for.
 */
function llm(type: keyof typeof TYPES, plain: boolean): Promise<Uint8Array> {
  const next = random(7);
  return rewriteGguf(ggufFixture("qwen3-tiny-q4km.gguf"), (_, shape): Retyped | undefined => {
    if (shape.length !== 2) return undefined;
    const blocks = randomBlocks(type, (shape[0] * shape[1]) / 32, next);
    if (!plain) return { type: TYPES[type], data: blocks };
    return { type: 0, data: new Uint8Array(dequantizeBlocks(blocks, type).buffer) };
  });
}

/** Blocks of any values with scales of either sign, so that the model answers by what it hears. */
function randomBlocks(type: GgmlType, count: number, next: () => number): Uint8Array {
  const { bytes: size } = GGML_BLOCKS[type];
  const bytes = Uint8Array.from({ length: count * size }, () => 128 * (next() + 1));
  for (let at = 0; at < bytes.length; at += size) {
    const scale = (bytes[at + 1] & 0x80) | 0x24; // d is 2^-6 to 2^-5
    bytes[at + 1] = type === "Q8_0" ? scale - 16 : scale; // 2^-10
    if (type.endsWith("_1")) bytes.set([bytes[at], (scale ^ 0x80) + 12], at + 2); // m = -8 d
  }
  return bytes;
}

async function transcribed(file: Uint8Array, weights?: WeightFormat): Promise<readonly number[]> {
  const encoder = "funasr-encoder-q8_0.gguf";
  const files = new Map([
    [encoder, ggufFixture(encoder)],
    ["qwen3-tiny.gguf", file],
  ]);
  const transcriber = await Transcriber.load(gpu(), memoryFiles("m", files), { weights });
  const clip = transcriber.prepare({ channels: [values(24_000, 9)], sampleRate: 16_000 }, "noise");
  const [{ tokenIds }] = await transcriber.transcribe([clip], { maxNewTokens: 12 });
  transcriber.free();
  return tokenIds;
}

const types = Object.keys(TYPES) as (keyof typeof TYPES)[];

// Plan: a pair whose LLM is in blocks of one type transcribes as one whose LLM is in the f32 that
// the blocks stand for, in every format; the weights decide the answer.
describe.each(types)("%s", (type) => {
  test.each<[WeightFormat | undefined]>([[undefined], ["f32"], ["bf16"], ["f16"], ["q8"], ["q4"]])(
    "as %s",
    async (weights) => {
      const got = await transcribed(await llm(type, false), weights);
      expect(got).toEqual(await transcribed(await llm(type, true), weights));
    },
  );
});

test("each type has an answer of its own", async () => {
  const answers: string[] = [];
  for (const type of types) answers.push(String(await transcribed(await llm(type, false))));
  expect(new Set(answers).size).toBe(types.length);
});
