import { expect, test } from "vitest";
import { values } from "../../test/gpu.js";
import { collapseAlarm, meanPairwiseCosine, normAlarm, normWindow } from "./alarms.js";

// The mean cosine against its definition over all pairs; alike, opposite, zero and single rows;
// when each alarm speaks.
const width = 7;

function byPairs(rows: Float32Array): number {
  const row = (r: number): number[] => [...rows.subarray(r * width, (r + 1) * width)];
  const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const n = rows.length / width;
  let sum = 0;
  for (let a = 0; a < n; a++)
    for (let b = 0; b < n; b++)
      if (a !== b) sum += dot(row(a), row(b)) / Math.sqrt(dot(row(a), row(a)) * dot(row(b), row(b)));
  return sum / (n * (n - 1));
}

test.each([2, 3, 31])("%i rows", (n) => {
  const rows = values(n * width, n, 0.3);
  expect(meanPairwiseCosine(rows, width)).toBeCloseTo(byPairs(rows), 12);
});

test("alike, opposite, zero, single, NaN", () => {
  expect(meanPairwiseCosine([1, 2, 2, 4, 3, 6], 2)).toBeCloseTo(1, 14);
  expect(meanPairwiseCosine([1, 2, -1, -2], 2)).toBeCloseTo(-1, 14);
  expect(meanPairwiseCosine([1, 2, 0, 0], 2)).toBeCloseTo(0, 14);
  expect(meanPairwiseCosine([1, 2], 2)).toBe(0);
  expect(meanPairwiseCosine([1, NaN, 1, 1], 2)).toBeNaN();
});

test("the collapse alarm speaks above 0.98", () => {
  expect(collapseAlarm(0.98, "--lr")).toBeUndefined();
  expect(collapseAlarm(0.9801, "--lr")).toMatch(
    /^adaptor outputs have a mean pairwise cosine of 0\.9801: they have collapsed; lower --lr, or/,
  );
  expect(collapseAlarm(1, "--align-lr")).toMatch(/; lower --align-lr, or/);
});

test("the norm alarm speaks above 20 times the median, once there are enough steps", () => {
  const norms = Array.from({ length: normWindow }, (_, i) => 1 + (i % 3));
  expect(normAlarm(norms, 40, "--lr")).toBeUndefined();
  expect(normAlarm(norms, 41, "--lr")).toMatch(
    /^gradient norm 41\.0 is 21 times the median of the last 50 steps; lower --lr or --clip$/,
  );
  expect(normAlarm(norms, 41, "--align-lr")).toMatch(/; lower --align-lr or --clip$/);
  expect(normAlarm(norms.slice(0, normWindow / 2 - 1), 1e9, "--lr")).toBeUndefined();
});
