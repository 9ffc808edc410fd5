import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { realConfig } from "../../test/helpers/checkpoint.js";
import { tinyConfig } from "../../test/helpers/tiny-model.js";
import { generatedParameters } from "../verify/bundle.js";
import { countParameters } from "../config/expected-tensors.js";
import { footprint } from "./footprint.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import { KvCache } from "../model/kv-cache.js";

// Plan: what is counted is what the GPU holds once the model is loaded, in each format; the full
// sizes are those measured.

const gpu = useGpu();

describe("the bytes counted are the bytes kept", () => {
  test.each(["f32", "bf16", "f16", "q8", "q4"] as const)("%s", async (weights) => {
    for (const tied of [true, false]) {
      const config = tinyConfig({ tied });
      const before = gpu().bytes.kept;
      const model = await loadFunAsrNano(gpu(), config, generatedParameters(config, 1), { weights });
      const loaded = gpu().bytes.kept - before;
      const { weights: counted, run } = await footprint(config, weights, 100);
      expect(counted).toBe(loaded);
      const cache = new KvCache(gpu(), config.llm, [100]);
      expect(run).toBe(gpu().bytes.kept - before);
      cache.free();
      model.free();
      expect(gpu().bytes.kept).toBe(before);
    }
  });
});

test("full sizes: 0.6B in q8 0.89 GB, 4B in q4 2.43 GB, 8B in q4 4.83 GB of weights, as measured on the GPU", async () => {
  const gb = async (...args: Parameters<typeof footprint>): Promise<number> =>
    (await footprint(...args)).weights / 1e9;
  expect(await gb(realConfig("0.6B"), "q8", 1)).toBeCloseTo(0.89, 2);
  expect(await gb(realConfig("4B"), "q4", 1)).toBeCloseTo(2.43, 2);
  expect(await gb(realConfig("8B"), "q4", 1)).toBeCloseTo(4.83, 2);
});

test("training the adaptor takes 16 bytes for each of its parameters in place of its weights", async () => {
  const config = realConfig("1.7B");
  const { weights, train } = await footprint(config, "bf16", 1);
  const all = await footprint(config, "f32", 1);
  const parameters = (all.train - all.weights) / 12;
  expect(parameters).toBe(countParameters(config).adaptor);
  expect(train).toBeGreaterThan(weights + 13 * parameters);
  expect(train).toBeLessThan(weights + 15 * parameters);
});
