import { expect, test } from "vitest";
import { lowerLimits } from "./gpu.js";
import { tinyConfig } from "./helpers/tiny-model.js";
import { fromFloat32 } from "../src/formats/dtypes.js";
import { generateParameter } from "../src/checkpoint/weights.js";
import type { Gpu } from "../src/gpu/device.js";
import { KvCache } from "../src/model/kv-cache.js";
import { embedTokens, lmHead, loadLanguageModel, qwen3 } from "../src/model/qwen3.js";
import { openDevice } from "../src/node/device.js";
import { generatedParameters } from "../src/verify/bundle.js";

const MiB = 2 ** 20;
const defaults = { maxStorageBufferBindingSize: 128 * MiB, maxBufferSize: 256 * MiB }; // those of WebGPU
const small = { maxStorageBufferBindingSize: 40 * MiB, maxBufferSize: 50 * MiB };
const [vocabSize, hiddenSize, seed] = [70_001, 1024, 3];
const config = tinyConfig();
const llm = { ...config.llm, vocabSize, hiddenSize, layers: 1, tiedHead: true };
const parameters = generatedParameters({ ...config, llm }, seed);
const firstOfSecond = defaults.maxStorageBufferBindingSize / (2 * hiddenSize); // row 65,536, bf16

/**
 * The embedding's pieces, rows of it from every piece, and the scores of every token after them, as
 * raw bits.
 */
async function run(gpu: Gpu): Promise<{ rows: number[]; embedded: Float32Array; logits: Uint32Array }> {
  const ids = [0, firstOfSecond - 1, firstOfSecond, vocabSize - 1];
  const model = await loadLanguageModel(gpu, llm, parameters);
  const cache = new KvCache(gpu, llm, [ids.length]);
  const [embedded, logits] = await gpu.step(() => {
    const embeds = embedTokens(gpu, model.llm, ids);
    return [embeds, lmHead(gpu, model.llm, qwen3(gpu, model.llm, embeds, cache.append([ids.length]), cache))];
  });
  const { embedTokens: embedding, lmHead: head } = model.llm;
  expect(head).toBe(embedding);
  return {
    rows: embedding.pieces.map(({ rows }) => rows),
    embedded: embedded as Float32Array,
    logits: new Uint32Array(logits.buffer),
  };
}

// Plan: a tied embedding of 143 MB on a device that was opened with WebGPU's default limits, which
// Dawn enforces: two pieces, rows from both sides of the cut are the matrix's own, and the scores
// have the bits of four pieces under lower limits.
test("an embedding and a head larger than a default binding", async () => {
  const { gpu } = await openDevice({ limits: defaults });
  const { gpu: other } = await openDevice();
  try {
    expect(gpu.device.limits).toMatchObject(defaults);
    lowerLimits(other, small);
    const whole = generateParameter(
      "model.language_model.embed_tokens.weight",
      [vocabSize, hiddenSize],
      seed,
      "bf16",
    );
    const cut = await run(gpu);
    expect(cut.rows).toEqual([firstOfSecond, vocabSize - firstOfSecond]);
    for (const [i, id] of [0, firstOfSecond - 1, firstOfSecond, vocabSize - 1].entries()) {
      const row = fromFloat32(cut.embedded.slice(i * hiddenSize, (i + 1) * hiddenSize), "BF16");
      expect(Buffer.from(row).equals(whole.subarray(2 * id * hiddenSize, 2 * (id + 1) * hiddenSize))).toBe(
        true,
      );
    }
    const pieces = await run(other);
    expect(pieces.rows).toHaveLength(4);
    expect(cut.logits.length).toBe(4 * vocabSize);
    expect(pieces.logits.findIndex((bits, i) => bits !== cut.logits[i])).toBe(-1);
    expect(new Set(cut.logits).size).toBeGreaterThan(vocabSize);
  } finally {
    gpu.destroy();
    other.destroy();
  }
});
