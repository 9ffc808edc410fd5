import { describe, expect, test } from "vitest";
import { realConfig } from "../../test/helpers/checkpoint.js";
import { adapters, efficiency } from "../presets.js";
import { sizeConfig } from "../train/plan-sizes.js";
import {
  type Shares,
  type Work,
  calls,
  countClip,
  evenShares,
  predict,
  usualDevice,
  workSeconds,
} from "./predict.js";

// The time of known work, kind by kind; the work of a clip, counted, against bounds that the
// weights set; sizes in order.
const none = { calls: 0, flops: 0, bytes: 0 };
const nothing: Work = { products: none, row: none, attention: none, cache: none, elements: none };

describe("workSeconds", () => {
  const adapter = { name: "x", bandwidth: 100, flops: 1000, dispatch: 0.5 };
  const shares: Shares = {
    bandwidth: 0.5,
    flops: 0.1,
    attention: 0.01,
    cache: 0.25,
    elements: 0.125,
    calls: { products: 1000, row: 100, attention: 10, cache: 1, elements: 0.25 },
  };

  test.each([
    ["products", 100, 100, 2],
    ["products", 1000, 100, 10],
    ["row", 100, 200, 4],
    ["attention", 100, 25, 10],
    ["attention", 10, 50, 2],
    ["cache", 10, 100, 4],
    ["elements", 1e9, 25, 2],
  ] as const)("%s: the slower of %d FLOPs and %d bytes, and its calls", (kind, flops, bytes, seconds) => {
    const work = { ...nothing, [kind]: { calls: 3, flops, bytes } };
    expect(workSeconds(work, adapter, shares)).toBe(seconds + 3 * shares.calls![kind]);
    expect(
      workSeconds({ ...work, [kind]: { ...none, calls: 3 } }, adapter, { ...shares, calls: undefined }),
    ).toBe(1.5);
  });
});

test("a token reads every weight of the LLM once and its cache, a prompt and a clip compute with every row", async () => {
  const config = realConfig("0.6B");
  const { audio, prompt, token } = await countClip(config, "bf16", { seconds: 4.8, tokens: 50 }, usualDevice);
  const weights = 596_049_920; // of the LLM, as torch counts them
  expect(token.row.bytes / (2 * weights)).toBeGreaterThan(1);
  expect(token.row.bytes / (2 * weights)).toBeLessThan(1.01);
  const { layers, kvHeads, headDim } = config.llm;
  const seen = 24 + 80 + 25; // text, audio, the middle of the answer
  expect(token.cache.bytes / (8 * layers * kvHeads * headDim * seen)).toBeCloseTo(1, 1);
  expect(token.products.calls + token.attention.calls).toBe(0);
  const layerWeights = weights - config.llm.vocabSize * config.llm.hiddenSize;
  const rows = 112; // 104 in whole tiles
  expect(prompt.products.flops / (2 * rows * layerWeights)).toBeGreaterThan(0.95); // all but the last layer's
  expect(prompt.products.flops / (2 * rows * layerWeights)).toBeLessThan(1);
  const encoderAndAdaptor = 221_136_992 + 12_604_928;
  expect(audio.products.flops / (2 * 80 * encoderAndAdaptor)).toBeCloseTo(1, 1);
  expect(calls(audio)).toBe(792);
});

test("more parameters take longer, fewer bits less, and a clip is its parts", async () => {
  const sizes = { seconds: 10, tokens: 50 };
  const of = async (size: "0.6B" | "8B", weights: "bf16" | "q4"): Promise<ReturnType<typeof predict>[]> => {
    const work = await countClip(sizeConfig(size), weights, sizes, usualDevice);
    return adapters.map((adapter) => predict(work, sizes, adapter, evenShares(efficiency)));
  };
  const [large, small, quantised] = [await of("8B", "bf16"), await of("0.6B", "bf16"), await of("8B", "q4")];
  for (const [i, { token, clip, rtf }] of small.entries()) {
    expect(large[i].token).toBeGreaterThan(3 * token);
    expect(quantised[i].token).toBeLessThan(large[i].token);
    expect(clip).toBeGreaterThan(49 * token);
    expect(rtf).toBe(clip / 10);
  }
});
