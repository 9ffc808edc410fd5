import { describe, expect, it } from "vitest";
import { judgeSteps, judgeUpdated, judgeZero } from "./amplified.js";
import { compareStage } from "./compare.js";

const f64 = Array.from({ length: 40 }, (_, i) => Math.sin(i + 1));
const torch = f64.map((x, i) => x * (1 + (i % 2 === 0 ? 2e-7 : -2e-7)));
const gradient = f64.map((x) => 0.01 * x);

/** `f64` with the value at `i` off by this. */
const off = (i: number, by: number): number[] => f64.map((x, j) => (j === i ? x + by : x));

// Plan: one weight whose gradient is lost in rounding decides no stage; another weight, a move past
// what the steps reach, more than 4 % of the weights, or NaN does. A gradient of 0 in both
// precisions explains no error; a gradient that is no measure changes no verdict.
describe("judgeUpdated", () => {
  const where = { bundle: "b", stage: "final.a.weight", shape: [40] };
  const small = gradient.map((g, i) => (i === 0 ? 2e-6 * 0.007 : g));
  const dead = gradient.with(0, 0);
  const none = { gradient: gradient.map(() => 0), torchGradient: gradient.map(() => 0) };
  const every = torch.map((x) => x + 9e-4);
  const steep = (count: number): number[] => gradient.map((g, i) => (i < count ? 1e-6 * g : g));
  const two = { gradient: steep(2), torchGradient: steep(2) };
  const outlier = gradient.map((g, i) => (i === 0 ? 1e4 : g));
  const judge = (got: number[], updates: Partial<Parameters<typeof judgeUpdated>[2]> = {}): boolean =>
    judgeUpdated(
      compareStage(where, got, torch, f64),
      { got, torch, f64 },
      { gradient: small, torchGradient: small, zero: false, reach: 1e-3, ...updates },
    ).ok;

  it.each([
    ["a first gradient of 2e-6 of the RMS", off(0, 2e-5), {}, true],
    ["the same weight past the steps' reach", off(0, 2e-3), {}, false],
    ["another weight", off(1, 2e-5), {}, false],
    ["no small gradient", off(0, 2e-5), { gradient }, false],
    ["every weight", f64.map((x) => x * (1 + 1e-5)), {}, false],
    ["two of 40, more than 4 %", off(0, 2e-5), two, false],
    [
      "all beside one that is 1e6 times as large",
      every.with(0, torch[0]),
      { gradient: outlier, torchGradient: outlier },
      false,
    ],
    ["NaN", off(0, NaN), {}, false],
    ["a bias that is zero by symmetry", off(7, 2e-5), { zero: true }, true],
    ["a gradient of 0 in both precisions", off(0, 9e-4), { gradient: dead, torchGradient: dead }, false],
    ["a gradient of 0 in f64 alone", off(0, 2e-5), { gradient: dead }, true],
    ["a gradient of 0 in f32 alone", off(0, 2e-5), { torchGradient: dead }, true],
    ["a dead tensor", off(7, 2e-5), { ...none, zero: true }, false],
    [
      "a dead element of a bias that is zero",
      off(0, 2e-5),
      { gradient: dead, torchGradient: dead, zero: true },
      false,
    ],
    ["NaN in the gradient", every, { gradient: gradient.with(3, NaN) }, false],
    ["an infinite gradient", every, { gradient: gradient.with(3, Infinity) }, false],
    ["no gradient", every, { gradient: [] }, false],
    ["a short gradient", off(0, 2e-5), { gradient: small.slice(1) }, false],
    ["a short gradient of f32", off(0, 2e-5), { torchGradient: small.slice(1) }, false],
    ["such a bias past the reach", off(7, 2e-3), { zero: true }, false],
    ["such a bias with NaN", off(7, NaN), { zero: true }, false],
  ])("%s", (_, got, updates, ok) => {
    expect(compareStage(where, got, torch, f64).ok).toBe(false);
    expect(judge(got, updates)).toBe(ok);
  });
});

// Plan: a gradient that is zero by symmetry, with more rounding than PyTorch's; one wrong element,
// a share of all gradients and NaN fail.
describe("judgeZero", () => {
  const where = { bundle: "b", stage: "grad.a.k_proj.bias", shape: [40] };
  const whole = 0.02;
  const noise = (size: number): number[] => f64.map((x) => x * size * whole);
  const zero = noise(1e-15);
  const theirs = noise(3e-8);
  const bent = theirs.map((x, i) => (i === 3 ? x + 1e-5 * whole : x));

  it.each([
    ["four times PyTorch's rounding", noise(1.2e-7), true],
    ["one element wrong by 1e-5 of all gradients", bent, false],
    ["wrong by 1e-3 of all gradients", noise(1e-3), false],
    ["ten times what rounding reaches", noise(5e-6), false],
    ["NaN", theirs.map((x, i) => (i === 5 ? NaN : x)), false],
  ])("%s", (_, got, ok) => {
    const first = compareStage(where, got, theirs, zero, { floor: 1e-2 * whole });
    expect(first.ok).toBe(false);
    const judged = judgeZero(first, { got, torch: theirs, f64: zero }, whole);
    expect(judged).toMatchObject({ ok, ratio: first.ratio });
  });
});

// Plan: one step of ten where PyTorch is near by chance; two such steps, a step that is wrong, and
// NaN fail.
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
