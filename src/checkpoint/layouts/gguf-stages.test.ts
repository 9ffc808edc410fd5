import { expect, test } from "vitest";
import { random, useGpu } from "../../../test/gpu.js";
import { fixtureFiles } from "../../../test/helpers/checkpoint.js";
import { ggufPair } from "../../../test/helpers/gguf.js";
import type { Gpu } from "../../gpu/device.js";
import { type Clips, encode, loadFunAsrNano } from "../../model/fun-asr-nano.js";
import type { WeightFormat } from "../../weights/loader.js";
import { openCheckpoint } from "../checkpoint.js";
import { memoryFiles } from "../source.js";
import type { ModelFiles } from "../source.js";

const gpu = useGpu();
const frames = [5, 3];
const next = random(9);
const clips: Clips = { features: Float32Array.from({ length: 8 * 8 }, () => next()), frames };

/** Encoder states only: the tiny adaptor's heads of 2 are too narrow for the attention kernels. */
async function states(device: Gpu, files: ModelFiles, weights: WeightFormat): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(files);
  const model = await loadFunAsrNano(device, checkpoint.config, checkpoint, { weights });
  const [result] = await device.step(() => [encode(device, model, clips)]);
  model.free();
  await checkpoint.close();
  return result as Float32Array;
}

// Plan: the encoder of the tiny checkpoint and of its GGUF pair, with fused projections and
// transposed FSMN taps, gives the same bits in formats that hold the values of both files.
test.each<WeightFormat>(["f32", "f16"])(
  "a pair in %s gives the bits of the transformers form",
  async (weights) => {
    const want = await states(gpu(), memoryFiles("hf", fixtureFiles("tiny")), weights);
    expect(want).toHaveLength(8 * 8);
    expect(want.every((v) => Number.isFinite(v) && v !== 0)).toBe(true);
    expect(await states(gpu(), ggufPair(), weights)).toEqual(want);
  },
);
