import { describe, expect, test } from "vitest";
import { attribute, clockOffset, partition } from "./timeline.js";
import { run } from "../../test/helpers/timed-run.js";

// Overlapping intervals, by hand: every moment is counted once, for the first cause, and the sums
// are the whole. Clocks that differ by an offset; a run whose parts are known.

describe("partition", () => {
  test("the first cause wins; what none has is left over; edges are cut to the whole", () => {
    const intervals = [
      { cause: 1, start: -5, end: 6 },
      { cause: 0, start: 2, end: 4 },
      { cause: 0, start: 3, end: 5 },
      { cause: 1, start: 8, end: 20 },
      { cause: 0, start: 30, end: 40 },
    ];
    expect(partition(intervals, 2, 0, 10)).toEqual([3, 5, 2]);
    expect(partition([], 2, 0, 10)).toEqual([0, 0, 10]);
  });
});

describe("attribute", () => {
  test("the device's clock is set by the command buffer that began soonest", () => {
    expect(clockOffset(run)).toBe(1000);
  });

  test("the parts of a known run, which add up to its wall time", () => {
    const got = attribute(run, { start: 0, end: 20 });
    expect(got).toEqual({
      kernels: 5,
      "between dispatches": 1,
      "bind groups": 1,
      encode: 2,
      submit: 0.5,
      read: 0.5,
      "wait, device idle": 6,
      unattributed: 4,
    });
    expect(Object.values(got).reduce((a, b) => a + b)).toBe(20);
  });
});
