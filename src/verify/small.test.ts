import { describe, expect, it } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { bundleParts, floatsOf, openParts } from "../../test/helpers/bundles.js";
import { type StageResult, compareStage, failedStage } from "./compare.js";
import { isAllSmall, judgeSmall, smallBound, smallStage } from "./small.js";
import { verifyBundle } from "./verify.js";

const gpu = useGpu();
const pass = 1e-6;

/** A judged stage with this ratio. */
function stage(ratio: number, values = 40, name = "encoder.norm"): StageResult {
  const where = { bundle: "b", stage: name, shape: [1, values] };
  const bound = /^(grad|final)\./.test(name) ? 3 : 1.5;
  return {
    ...failedStage(where, ""),
    error: ratio * pass,
    torchError: pass,
    ratio,
    ok: ratio <= bound,
    problem: undefined,
  };
}

// Plan: of small stages one that fails by noise is judged by all of them; what is large, of
// training, far off or has a problem keeps its verdict.
describe("judgeSmall", () => {
  const agreeing = [stage(0.7), stage(0.9), stage(0.8), stage(0.6)];

  it.each([1.55, 1.83, 2.9])("passes a small stage at %f, and gives the pooled figure", (ratio) => {
    const [judged, ...others] = judgeSmall([stage(ratio), ...agreeing]);
    expect(judged).toMatchObject({ ok: true, ratio });
    expect(judged.reason).toMatch(/^few values: .* over the 200 of all small stages$/);
    expect(others).toEqual(agreeing);
  });

  it.each([
    ["a large stage", stage(1.6, smallStage)],
    ["training", stage(3.5, 40, "grad.a.bias")],
    ["more than noise reaches", stage(smallBound * 1.001)],
    ["a wrong result", stage(1e4)],
    ["a stage with a problem", failedStage({ bundle: "b", stage: "logits", shape: [1, 40] }, "got NaN")],
  ])("keeps the verdict of %s", (_, failing) => {
    expect(judgeSmall([failing, ...agreeing])[0]).toBe(failing);
  });

  it("fails small stages that are off together", () => {
    const off = [1.6, 1.7, 1.55, 1.8].map((ratio) => stage(ratio));
    expect(judgeSmall(off)).toEqual(off);
    expect(isAllSmall(off)).toBe(false);
  });

  it("takes the pool that is given", () => {
    expect(judgeSmall([stage(1.8)])[0].ok).toBe(false);
    expect(judgeSmall([stage(1.8)], [stage(1.8), ...agreeing])[0].ok).toBe(true);
  });

  it("calls a run small where every float stage is", () => {
    expect(isAllSmall(agreeing)).toBe(true);
    expect(isAllSmall([...agreeing, stage(0.8, smallStage)])).toBe(false);
    expect(isAllSmall([])).toBe(false);
  });
});

// Plan: wrong results in the bundle of one row (48 values a stage) and in one of 352 values still
// fail: one element, a scaled row, swapped heads.
describe("wrong results", () => {
  const swap = (values: Float32Array | Float64Array, width: number): void => {
    const half = Array.from(values.subarray(0, width));
    values.copyWithin(0, width, 2 * width);
    values.set(half, width);
  };
  it.each(
    ["encoder-1", "encoder-weights"].flatMap(
      (name) =>
        [
          [name, "one element", (v: Float32Array | Float64Array) => (v[3] += 1e-4)],
          [
            name,
            "a scaled row",
            (v: Float32Array | Float64Array) => v.forEach((x, i) => (v[i] = i < 32 ? x * (1 + 1e-5) : x)),
          ],
          [name, "swapped heads", (v: Float32Array | Float64Array) => swap(v, 8)],
        ] as const,
    ),
  )("%s: %s", async (name, _, change) => {
    const parts = await bundleParts(name);
    change(floatsOf(parts, "encoder.norm"));
    const bytes = parts.tensors.get("f64.encoder.norm")!.data as Uint8Array;
    const f64 = new Float64Array(bytes.slice().buffer);
    change(f64);
    bytes.set(new Uint8Array(f64.buffer));
    const results = await verifyBundle(gpu(), await openParts(parts));
    expect(results.filter(({ ok }) => !ok).map((result) => result.stage)).toEqual(["encoder.norm"]);
  });
});

it("gives no reason to what its own ratio decides", () => {
  const where = { bundle: "b", stage: "encoder.stem", shape: [1, 4] };
  expect(compareStage(where, [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]).reason).toBeUndefined();
});
