import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { syntheticSource } from "../../bench/synthetic.js";
import { useGpu } from "../../test/gpu.js";
import { Program } from "../gpu/program.js";
import { Timing } from "../gpu/timing.js";
import { argmax } from "../kernels/argmax/argmax.js";
import { embedding } from "../kernels/embedding/embedding.js";
import type { LlmConfig } from "../config/model-config.js";
import { KvCache } from "../model/kv-cache.js";
import { type LanguageModel, lmHead, loadLanguageModel, qwen3 } from "../model/qwen3.js";
import { adapters, efficiency } from "../presets.js";
import { sizeConfig } from "../train/plan-sizes.js";
import { costOf } from "./costs.js";
import {
  dispatches as countDispatches,
  evenShares,
  type Shares,
  type Work,
  predict,
  tokenWork,
  workSeconds,
} from "./predict.js";

// Work of a token as predicted against what the engine does, counted dispatch by dispatch; the time of known work; sizes in order.
const gpu = useGpu({ timestamps: true });
const config: LlmConfig = {
  ...sizeConfig("0.6B").llm,
  ...{ vocabSize: 512, hiddenSize: 256, intermediateSize: 512, layers: 3, heads: 4, kvHeads: 2, headDim: 64 },
};
let model: LanguageModel;
beforeAll(async () => {
  model = await loadLanguageModel(gpu(), config, syntheticSource(config, "bf16"), { weights: "bf16" });
});
afterAll(() => model.free());

describe("a token's work", () => {
  test("is what the engine dispatches: their number exactly, FLOPs and bytes but for norms and activations", async () => {
    const g = gpu();
    const cached = 99;
    const cache = new KvCache(g, config, [cached + 1]);
    const id = g.keep([1], "u32");
    g.write(id, new Uint32Array(1));
    await g.step(() => (cache.append([cached]), []));
    const timing = (g.timing = new Timing(g.device));
    const rows = cache.advance();
    await g.step(() => {
      const hidden = qwen3(g, model.llm, embedding(g, id, model.llm.embedTokens), rows, cache);
      return [argmax(g, lmHead(g, model.llm, hidden), id)];
    }, new Program());
    g.timing = undefined;
    const { dispatches } = await timing.collect();
    const costs = dispatches.map(({ kernel, dispatch, contents }) => costOf(kernel.name, dispatch, contents));
    const work = tokenWork(config, "bf16", cached + 1);
    expect(dispatches).toHaveLength(countDispatches(work));
    const flops = costs.reduce((sum, cost) => sum + cost.flops!, 0);
    const bytes = costs.reduce((sum, cost) => sum + cost.bytes, 0);
    expect(flops / (work.flops + work.attention)).toBeGreaterThanOrEqual(1);
    expect(flops / (work.flops + work.attention)).toBeLessThan(1.02);
    expect(bytes / (work.bytes + work.cache)).toBeGreaterThanOrEqual(1);
    expect(bytes / (work.bytes + work.cache)).toBeLessThan(1.05);
    cache.free();
    g.free(id);
  });
});

describe("predictions", () => {
  const adapter = { name: "x", bandwidth: 100, flops: 1000, dispatch: 0.5 };

  const work: Work = {
    ...{ bytes: 100, flops: 100, attention: 0, cache: 0, elements: 0 },
    calls: { products: 2, attention: 1, elements: 1, one: false },
  };
  const shares = evenShares({ bandwidth: 0.5, flops: 0.1 });

  test("the slower of arithmetic and memory, for products and for attention; what goes row by row; the dispatches", () => {
    expect(workSeconds(work, adapter, shares)).toBe(2 + 2);
    expect(workSeconds({ ...work, flops: 1000 }, adapter, shares)).toBe(10 + 2);
    expect(workSeconds({ ...work, attention: 300, cache: 50 }, adapter, shares)).toBe(2 + 3 + 2);
    expect(workSeconds({ ...work, attention: 300, cache: 250 }, adapter, shares)).toBe(2 + 5 + 2);
    expect(workSeconds({ ...work, elements: 100 }, adapter, shares)).toBe(2 + 2 + 2);
  });

  test("shares and least costs of their own for each kind of call, by one row and by several", () => {
    const own: Shares = {
      ...{ bandwidth: 0.5, flops: 0.1, attention: 0.01, cache: 0.25, elements: 0.125 },
      calls: { products: 1000, row: 100, attention: 10, cache: 1, elements: 0.25 },
    };
    const all = { ...work, attention: 10, cache: 50, elements: 25 };
    expect(workSeconds(all, adapter, own)).toBe(2 + 2 + 2 + 2000 + 10 + 0.25);
    const one = { ...all, calls: { ...work.calls, one: true } };
    expect(workSeconds(one, adapter, own)).toBe(2 + 2 + 2 + 200 + 1 + 0.25);
  });

  test("more parameters take longer, fewer bits less, and a clip is its parts", () => {
    for (const device of adapters) {
      const of = (size: "0.6B" | "8B", weights: "bf16" | "q4"): ReturnType<typeof predict> =>
        predict(sizeConfig(size), weights, { seconds: 10, tokens: 50 }, device, evenShares(efficiency));
      expect(of("8B", "bf16").token).toBeGreaterThan(3 * of("0.6B", "bf16").token);
      expect(of("8B", "q4").token).toBeLessThan(of("8B", "bf16").token);
      const { clip, token, rtf } = of("0.6B", "bf16");
      expect(clip).toBeGreaterThan(49 * token);
      expect(rtf).toBe(clip / 10);
    }
  });
});
