import { describe, expect, it } from "vitest";
import { judgeSteps, judgeUpdated } from "./amplified.js";
import { compareStage } from "./compare.js";

const f64 = Array.from({ length: 40 }, (_, i) => Math.sin(i + 1));
const torch = f64.map((x, i) => x * (1 + (i % 2 === 0 ? 2e-7 : -2e-7)));
const gradient = f64.map((x) => 0.01 * x);

/** `f64` with the value at `i` off by this. */
const off = (i: number, by: number): number[] => f64.map((x, j) => (j === i ? x + by : x));

// Plan: one weight whose gradient is lost in rounding decides no stage; another weight, a move past what the steps reach, or NaN does.
describe("judgeUpdated", () => {
  const where = { bundle: "b", stage: "final.a.weight", shape: [40] };
  const small = gradient.map((g, i) => (i === 0 ? 2e-6 * 0.007 : g));
  const judge = (got: number[], updates: Partial<Parameters<typeof judgeUpdated>[2]> = {}): boolean =>
    judgeUpdated(
      compareStage(where, got, torch, f64),
      { got, torch, f64 },
      { gradient: small, zero: false, reach: 1e-3, ...updates },
    ).ok;

  it.each([
    ["a first gradient of 2e-6 of the RMS", off(0, 2e-5), {}, true],
    ["the same weight past the steps' reach", off(0, 2e-3), {}, false],
    ["another weight", off(1, 2e-5), {}, false],
    ["no small gradient", off(0, 2e-5), { gradient }, false],
    ["every weight", f64.map((x) => x * (1 + 1e-5)), {}, false],
    ["NaN", off(0, NaN), {}, false],
    ["a bias that is zero by symmetry", off(7, 2e-5), { zero: true }, true],
    ["such a bias past the reach", off(7, 2e-3), { zero: true }, false],
    ["such a bias with NaN", off(7, NaN), { zero: true }, false],
  ])("%s", (_, got, updates, ok) => {
    expect(compareStage(where, got, torch, f64).ok).toBe(false);
    expect(judge(got, updates)).toBe(ok);
  });
});

// Plan: one step of ten where PyTorch is near by chance; two such steps, a step that is wrong, and NaN fail.
describe("judgeSteps", () => {
  const where = { bundle: "b", stage: "norms", shape: [10] };
  const want = Array.from({ length: 10 }, (_, i) => 3 - i / 10);
  const theirs = want.map((x) => x * (1 + 1e-7));
  const at = (...steps: [number, number][]): number[] =>
    want.map((x, i) => x * (1 + (steps.find(([step]) => step === i)?.[1] ?? 1e-7)));

  it.each([
    ["step 8 alone", at([8, 3e-6]), true],
    ["two steps", at([8, 3e-6], [5, 3e-6]), false],
    ["a wrong step", at([8, 1e-4]), false],
    ["all steps", want.map((x) => x * (1 + 3e-6)), false],
    ["NaN", at([8, NaN]), false],
  ])("%s", (_, got, ok) => {
    const first = compareStage(where, got, theirs, want);
    expect(first.ok).toBe(false);
    expect(judgeSteps(first, { got, torch: theirs, f64: want }).ok).toBe(ok);
  });
});
