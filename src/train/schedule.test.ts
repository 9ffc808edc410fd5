import { expect, test } from "vitest";
import { type Schedule, learningRate } from "./schedule.js";

// Warm-up, cosine and constant against numbers worked out by hand; the edges: no warm-up, nothing
// but warm-up, past the end.
const schedule: Schedule = { peak: 1, warmup: 4, total: 12, shape: "cosine", floor: 0 };
const rates = (s: Schedule, steps: readonly number[]): number[] => steps.map((step) => learningRate(s, step));

test("rises in a line, then falls along half a cosine", () => {
  expect(rates(schedule, [0, 1, 2, 3])).toEqual([0.25, 0.5, 0.75, 1]);
  expect(learningRate(schedule, 4)).toBe(1);
  expect(learningRate(schedule, 6)).toBeCloseTo((1 + Math.SQRT1_2) / 2, 14);
  expect(learningRate(schedule, 8)).toBeCloseTo(0.5, 14);
  expect(learningRate(schedule, 12)).toBe(0);
});

test("ends at the floor and stays there", () => {
  expect(rates({ ...schedule, peak: 2, floor: 0.1 }, [12, 50])).toEqual([0.2, 0.2]);
});

test("constant after the warm-up", () => {
  expect(rates({ ...schedule, shape: "constant" }, [0, 3, 4, 11, 99])).toEqual([0.25, 1, 1, 1, 1]);
});

test("no warm-up, and nothing else", () => {
  expect(learningRate({ ...schedule, warmup: 0 }, 0)).toBe(1);
  expect(rates({ ...schedule, warmup: 12 }, [0, 11, 12])).toEqual([1 / 12, 1, 1]);
});
