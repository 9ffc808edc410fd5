import { describe, expect, it } from "vitest";
import { values } from "../../test/gpu.js";
import {
  type StageResult,
  compareIds,
  compareStage,
  difference,
  errorFloor,
  failedStage,
  goldenCap,
  medianRatio,
  stageBound,
  trainingBound,
} from "./compare.js";

const where = { bundle: "case", stage: "encoder.stem", shape: [2, 2] };
const truth = Float64Array.of(3, -4, 12, 0.5);

/** `truth` with a relative RMS error of `error`, all of it in the first element. */
function off(error: number): Float64Array {
  const norm = Math.hypot(...truth);
  return truth.map((value, i) => (i === 0 ? value + error * norm : value));
}

// Plan: relative RMS, largest error and cosine of known pairs; NaN in either array is NaN, never a
// pass.
describe("difference", () => {
  it("is 0 for equal arrays, zeros included", () => {
    expect(difference(truth, truth)).toEqual({ error: 0, maxAbs: 0, cosine: 1 });
    expect(difference([0, 0], [0, 0])).toEqual({ error: 0, maxAbs: 0, cosine: 1 });
  });

  it("is the square root of the squared error's share", () => {
    const { error, maxAbs, cosine } = difference([3, 5], [3, 4]);
    expect(error).toBeCloseTo(1 / 5, 12);
    expect(maxAbs).toBe(1);
    expect(cosine).toBeCloseTo(29 / (5 * Math.hypot(3, 5)), 12);
  });

  it("is infinite where zeros were wanted", () => expect(difference([1], [0]).error).toBe(Infinity));

  it.each([
    ["got", [NaN, 1], [1, 1]],
    ["want", [1, 1], [NaN, 1]],
  ])("is NaN for a NaN in %s", (_, got, want) => {
    const result = difference(got, want);
    expect([result.error, result.maxAbs]).toEqual([NaN, NaN]);
  });

  it("does not forget a NaN that comes before a large error", () => {
    expect(difference([NaN, 100], [0, 1]).maxAbs).toBeNaN();
  });
});

// Plan: the verdict just below and just above 1.5 times PyTorch's error, 3 times for what training
// makes, the floor of 1e-7, NaN on every side, a golden too far from its own f64 twin to measure
// anything.
describe("compareStage", () => {
  const torchError = 4e-6;
  const torch = off(torchError);

  it.each([
    [stageBound * 0.999, true],
    [stageBound * 1.001, false],
  ])("%f times PyTorch's error: ok %s", (times, ok) => {
    const result = compareStage(where, off(times * torchError), torch, truth);
    expect(result.ratio).toBeCloseTo(times, 3);
    expect(result.ok).toBe(ok);
  });

  it.each(["grad.a.weight", "final.a.weight", "losses", "norms"])("%s may be 3 times as far", (stage) => {
    const at = (times: number): boolean =>
      compareStage({ ...where, stage }, off(times * torchError), torch, truth).ok;
    expect([at(trainingBound * 0.999), at(trainingBound * 1.001)]).toEqual([true, false]);
  });

  it("measures a gradient that is zero against the floor, and by the least error given", () => {
    const zeros = [0, 0, 0, 0];
    const noise = [1e-6, -1e-6, 1e-6, -1e-6];
    const options = { floor: 0.5, leastTorchError: 1e-6 };
    const result = compareStage({ ...where, stage: "grad.b" }, noise, zeros, zeros, options);
    expect([result.error, result.torchError]).toEqual([expect.closeTo(2e-6, 12), 0]);
    expect([result.ratio, result.ok]).toEqual([expect.closeTo(2, 6), true]);
  });

  it.each([
    [1.4, true],
    [1.6, false],
  ])("%f times the floor where PyTorch is exact: ok %s", (times, ok) => {
    const result = compareStage(where, off(times * errorFloor), truth, truth);
    expect(result.ratio).toBeCloseTo(times, 3);
    expect(result.ok).toBe(ok);
  });

  it.each([
    ["ours", [NaN, -4, 12, 0.5], torch, truth, "got NaN"],
    ["PyTorch's and one of ours wrong", off(2e-3), [NaN, -4, 12, 0.5], truth, "the golden holds NaN"],
    ["f64", truth, torch, [NaN, -4, 12, 0.5], "the golden holds NaN"],
    ["ours and PyTorch's", [NaN, -4, 12, 0.5], [NaN, -4, 12, 0.5], truth, "the golden holds NaN"],
  ])("fails for a NaN in %s, and says so", (_, ours, theirs, f64, problem) => {
    expect(compareStage(where, ours, theirs, f64)).toMatchObject({ ok: false, ratio: NaN, problem });
  });

  it.each([
    ["ours", [Infinity, -4, 12, 0.5], torch, "got Infinity"],
    ["PyTorch's, ours wrong", off(2e-3), [3, -Infinity, 12, 0.5], "the golden holds -Infinity"],
  ])("fails for infinity in %s, and says so", (_, ours, theirs, problem) => {
    expect(compareStage(where, ours, theirs, truth)).toMatchObject({ ok: false, problem });
  });

  it.each([
    ["off by more than the cap", off(goldenCap * 1.001), "is 1.0e-3 off"],
    ["far off", off(5.6e9), "is 5.6e+9 off"],
    ["NaN", [NaN, -4, 12, 0.5], "holds NaN"],
    ["infinite", [3, -Infinity, 12, 0.5], "holds -Infinity"],
  ])("judges by f64 alone where PyTorch's f32 is %s and ours is the nearer", (_, theirs, what) => {
    const result = compareStage(where, off(1e-6), theirs, truth);
    expect(result).toMatchObject({
      ok: true,
      ratio: NaN,
      reason: `judged by f64 alone: PyTorch's f32 ${what}`,
    });
    expect(medianRatio([result, compareStage(where, off(3e-6), torch, truth)])).toBeCloseTo(0.75, 3);
    expect(compareStage(where, off(goldenCap * 1.01), theirs, truth).ok).toBe(false);
  });

  it("fails a golden that is past the cap where ours is past it too", () => {
    const result = compareStage(where, off(0.1), off(0.2), truth);
    expect([result.ok, result.ratio]).toEqual([false, NaN]);
    expect(result.problem).toMatch(/^the golden is damaged/);
  });

  it("fails a golden whose error overflows", () => {
    const problem = "the golden is damaged: PyTorch's f32 is NaN off its f64, at most 0.001 is sane";
    expect(compareStage(where, truth, torch, [1e300, -4, 12, 0.5])).toMatchObject({ ok: false, problem });
  });
});

// Plan: equal, one wrong, too short, too long.
describe("compareIds", () => {
  const want = [5, 6, 7, 8];

  it("accepts equal ids", () => expect(compareIds(where, want, want)).toMatchObject({ ok: true, error: 0 }));

  it.each([
    ["one wrong", [5, 6, 9, 8], "id 2: want 7, got 9", 1 / 4],
    ["too short", [5, 6, 7], "id 3: want 8, got undefined", 1 / 4],
    ["none", [], "id 0: want 5, got undefined", 1],
  ])("%s", (_, got, problem, error) => {
    expect(compareIds(where, got, want)).toMatchObject({ ok: false, problem, error });
  });

  it("too long", () => expect(compareIds(where, [...want, 9], want).ok).toBe(false));
});

// Plan: the median over float stages alone; none or a NaN gives NaN, which passes no bound.
describe("medianRatio", () => {
  const stage = (ratio: number, torchError = 1e-7): StageResult => ({
    ...failedStage(where, ""),
    ratio,
    torchError,
    ok: true,
  });

  it("is the middle, or the mean of the two in the middle", () => {
    expect(medianRatio([3, 1, 2].map((ratio) => stage(ratio)))).toBe(2);
    expect(medianRatio([4, 1, 2, 3].map((ratio) => stage(ratio)))).toBe(2.5);
  });

  it("sorts by value", () => {
    const ratios = Array.from(values(101, 7), (value) => 10 * (value + 1));
    const sorted = [...ratios].sort((a, b) => a - b);
    expect(medianRatio(ratios.map((ratio) => stage(ratio)))).toBe(sorted[50]);
  });

  it("leaves ids out", () => {
    expect(medianRatio([stage(2), compareIds(where, [1], [1]), compareIds(where, [1], [1])])).toBe(2);
  });

  it("is NaN without stages and with a failed one", () => {
    expect(medianRatio([])).toBeNaN();
    expect(medianRatio([stage(0.5), failedStage(where, "not computed")])).toBeNaN();
  });
});
