import { describe, expect, it } from "vitest";
import { areaUnderCurve } from "./auc.js";

// Plan: apart, mixed, equal, one kind alone; against every pair counted.
describe("areaUnderCurve", () => {
  it.each([
    ["apart", [0.9, 0.8], [0.1, 0.2], 1],
    ["the wrong way round", [0.1], [0.2, 0.3], 0],
    ["equal values", [0.5, 0.5], [0.5], 0.5],
    ["one of four pairs the wrong way", [1, 3], [0, 2], 0.75],
    ["no value of one kind", [1], [], NaN],
  ])("%s", (_, above, below, area) => {
    expect(areaUnderCurve(above, below)).toBe(area);
  });

  it("counts every pair", () => {
    const above = Array.from({ length: 40 }, (_, i) => (i * 7) % 11);
    const below = Array.from({ length: 30 }, (_, i) => (i * 5) % 9);
    let pairs = 0;
    for (const a of above) for (const b of below) pairs += a > b ? 1 : a === b ? 0.5 : 0;
    expect(areaUnderCurve(above, below)).toBeCloseTo(pairs / 1200, 12);
  });
});
