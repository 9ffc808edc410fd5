import { describe, expect, it } from "vitest";
import { bootstrap, pairedBootstrap } from "./bootstrap.js";
import { EvaluateError } from "./edits.js";

const ratio = ([edits, length]: readonly number[]): number => edits / length;
const system = (wrong: (i: number) => number): number[][] =>
  Array.from({ length: 100 }, (_, i) => [wrong(i), 10]);
const tenth = system(() => 1);
const varied = system((i) => i % 3);
const worse = system((i) => (i % 3) + (i % 2));

// Plan: the same seed gives the same interval, another seed another; no spread where all utterances
// are alike; the interval holds the score, and is about as wide as the normal approximation says;
// equal systems do not differ, unequal ones do.
describe("bootstrap", () => {
  it("is seeded", () => {
    expect(bootstrap(varied, ratio, { seed: 1 })).toEqual(bootstrap(varied, ratio, { seed: 1 }));
    expect(bootstrap(varied, ratio, { seed: 1 })).not.toEqual(bootstrap(varied, ratio, { seed: 2 }));
  });

  it("has the width that theory gives", () => {
    expect(bootstrap(tenth, ratio)).toEqual({ low: 0.1, high: 0.1 });
    const { low, high } = bootstrap(varied, ratio, { resamples: 4000 });
    const mean = 0.099; // 99 edits in 1000
    const deviation = Math.sqrt((0.33 * 1 + 0.33 * 4) / 100 - mean ** 2) / 10; // of the mean of 100 rates
    expect(low).toBeGreaterThan(mean - 2.2 * deviation);
    expect(low).toBeLessThan(mean - 1.7 * deviation);
    expect(high).toBeLessThan(mean + 2.2 * deviation);
    expect(high).toBeGreaterThan(mean + 1.7 * deviation);
  });

  it("of nothing is no number", () => expect(bootstrap([[0, 0]], ratio)).toEqual({ low: NaN, high: NaN }));
});

describe("pairedBootstrap", () => {
  it("finds no difference of a system and itself", () => {
    expect(pairedBootstrap(varied, varied, ratio)).toEqual({ difference: 0, low: 0, high: 0, p: 1 });
  });

  it("finds one that is there, and not one that chance explains", () => {
    const clear = pairedBootstrap(varied, worse, ratio);
    expect(clear.difference).toBeCloseTo(0.05, 10);
    expect(clear.low).toBeGreaterThan(0.03);
    expect(clear.high).toBeLessThan(0.07);
    expect(clear.p).toBeLessThan(0.002);
    const turned = varied.map((_, i) => varied[(i + 1) % 100]);
    expect(pairedBootstrap(varied, turned, ratio).p).toBeGreaterThan(0.5);
  });

  it("refuses other numbers of utterances", () => {
    expect(() => pairedBootstrap(varied, varied.slice(1), ratio)).toThrow(EvaluateError);
  });
});
