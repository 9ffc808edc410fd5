import type { Gpu } from "../../src/gpu/device.js";
import { makeSegments } from "../../src/kernels/attention/segments.js";
import { argmax } from "../../src/kernels/argmax/argmax.js";
import { takeRows } from "../../src/kernels/copy-rows/copy-rows.js";
import { embedding } from "../../src/kernels/embedding/embedding.js";
import { expectedTensors } from "../../src/config/expected-tensors.js";
import { loadFunAsrNano } from "../../src/model/fun-asr-nano.js";
import { KvCache } from "../../src/model/kv-cache.js";
import { embedTokens, lmHead, qwen3 } from "../../src/model/qwen3.js";
import { sanmEncoder } from "../../src/model/sanm-encoder.js";
import { sizeConfig } from "../../src/train/plan-sizes.js";
import { syntheticSource } from "../synthetic.js";
import { type Contender, exponent, interleave } from "./harness.js";
import type { Growth } from "./results.js";

const layers = 4; // of each part: all layers cost the same
const audioSeconds = [1, 2, 5, 10, 20, 40, 60];
const cached = [64, 256, 1024, 4096];

function growth(times: Readonly<Record<string, { readonly min: number; readonly median: number }>>): Growth {
  const points = Object.entries(times).map(([size, { median }]) => [Number(size), 1000 * median] as const);
  return { points, exponent: Number(exponent(points).toFixed(3)) };
}

/**
 * Cost of encoder and prompt against the seconds of audio, of a token against the length of the
 * cache. Full width, four layers of each part.
 */
export async function measureGrowth(
  gpu: Gpu,
  rounds: number,
): Promise<{ encoder: Growth; prefill: Growth; decode: Growth }> {
  const whole = sizeConfig("0.6B");
  const config = {
    ...whole,
    encoder: { ...whole.encoder, layers: layers - 1, tpLayers: 0 },
    llm: { ...whole.llm, layers },
  };
  const model = await loadFunAsrNano(gpu, config, syntheticSource(config, "bf16", expectedTensors(config)), {
    weights: "bf16",
  });
  const { llm } = model;
  const done = async (body: () => void): Promise<void> => {
    await gpu.step(() => (body(), []));
    await gpu.finish();
  };
  const encoders = audioSeconds.map((seconds): Contender => {
    const frames = Math.round(seconds / 0.06);
    const features = new Float32Array(frames * config.encoder.inputSize).fill(0.1);
    const run = (): Promise<void> =>
      done(() => {
        const x = gpu.upload(features, [frames, config.encoder.inputSize]);
        gpu.scope(() => void sanmEncoder(gpu, model.encoder, x, makeSegments(gpu, [frames])));
      });
    return { name: String(frames), run };
  });
  const prompts = audioSeconds.map((seconds): Contender => {
    const tokens = 24 + Math.round(seconds / 0.06);
    const ids = Array.from({ length: tokens }, (_, i) => 1000 + i);
    const run = async (): Promise<void> => {
      const cache = new KvCache(gpu, config.llm, [tokens]);
      await done(() => {
        const hidden = qwen3(gpu, llm, embedTokens(gpu, llm, ids), cache.append([tokens]), cache);
        argmax(gpu, lmHead(gpu, llm, takeRows(gpu, hidden, [tokens - 1])));
      });
      cache.free();
    };
    return { name: String(tokens), run };
  });
  const caches: KvCache[] = [];
  const tokens: Contender[] = [];
  for (const length of cached) {
    const cache = new KvCache(gpu, config.llm, [length + 3 * rounds + 3]);
    caches.push(cache);
    await done(() => void cache.append([length]));
    const id = gpu.keep([1], "u32");
    const run = async (): Promise<void> => {
      const { rows, program } = cache.advance();
      await gpu.step(() => {
        const hidden = qwen3(gpu, llm, embedding(gpu, id, llm.embedTokens), rows, cache);
        return [argmax(gpu, lmHead(gpu, llm, hidden), id)];
      }, program);
    };
    tokens.push({ name: String(length), run });
  }
  try {
    const few = Math.max(3, Math.ceil(rounds / 3)); // the longest clips take seconds
    return {
      encoder: growth(await interleave(encoders, few)),
      prefill: growth(await interleave(prompts, few)),
      decode: growth(await interleave(tokens, 3 * rounds)),
    };
  } finally {
    for (const cache of caches) cache.free();
    model.free();
  }
}
