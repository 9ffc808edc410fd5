import { expect, test } from "vitest";
import { Planner, leastSpeech } from "./planner.js";

// Plan: neighbours join up to the length and over short silences; over-long segments are cut where
// speech is least probable, whether they are known whole or while they grow; nothing is lost.

const flat = (from: number, to: number): Float32Array => new Float32Array((to - from) / 10).fill(0.9);
/** Speech but for 300 ms about a time. */
const dip =
  (...at: number[]) =>
  (from: number, to: number): Float32Array =>
    flat(from, to).map((value, i) => (at.some((ms) => Math.abs(from + 10 * i - ms) <= 150) ? 0.1 : value));

function planned(
  segments: [number, number][],
  mergeMs: number,
  maxMs: number,
  speech = flat,
): [number, number][] {
  const planner = new Planner({ mergeMs, maxMs }, speech);
  const all = segments.flatMap(([startMs, endMs]) => planner.add({ startMs, endMs }));
  return [...all, ...planner.end()].map(({ startMs, endMs }) => [startMs, endMs]);
}

test.each<[string, [number, number][], [number, number][]]>([
  ["none", [], []],
  ["one", [[500, 2000]], [[500, 2000]]],
  [
    "two neighbours",
    [
      [500, 2000],
      [3000, 5000],
    ],
    [[500, 5000]],
  ],
  [
    "up to the length",
    [
      [0, 8000],
      [9000, 15_000],
      [15_500, 16_000],
    ],
    [
      [0, 15_000],
      [15_500, 16_000],
    ],
  ],
  [
    "not over a long silence",
    [
      [0, 1000],
      [2010, 5000],
    ],
    [
      [0, 1000],
      [2010, 5000],
    ],
  ],
])("joined: %s", (_, segments, wanted) => {
  expect(planned(segments, 15_000, 30_000)).toEqual(wanted);
});

test("0 s joins nothing", () => {
  const segments: [number, number][] = [
    [0, 1000],
    [1000, 1500],
    [1600, 2000],
  ];
  expect(planned(segments, 0, 30_000)).toEqual(segments);
});

test("an over-long segment is cut where speech is least probable in the second half of its room", () => {
  expect(planned([[1000, 50_000]], 15_000, 30_000, dip(5000, 21_000, 45_000))).toEqual([
    [1000, 21_050],
    [21_050, 50_000],
  ]);
});

test("a segment that grows gives the pieces of the whole one", () => {
  const speech = dip(5000, 21_000, 45_000, 60_000);
  const whole = planned([[1000, 95_000]], 15_000, 30_000, speech);
  const planner = new Planner({ mergeMs: 15_000, maxMs: 30_000 }, speech);
  const pieces = [];
  for (let now = 1000; now <= 95_000; now += 730) {
    pieces.push(...planner.grow(1000, now));
    expect(planner.neededMs(1000)).toBeLessThanOrEqual(now);
  }
  pieces.push(...planner.add({ startMs: 1000, endMs: 95_000 }), ...planner.end());
  expect(pieces.map(({ startMs, endMs }) => [startMs, endMs])).toEqual(whole);
  expect(whole[0][0]).toBe(1000);
  expect(whole.at(-1)![1]).toBe(95_000);
  for (const [i, [start, end]] of whole.entries()) {
    expect(end - start).toBeLessThanOrEqual(30_000);
    if (i > 0) expect(start).toBe(whole[i - 1][1]);
  }
});

test.each([flat, dip(5000, 21_000, 38_900, 39_700)])(
  "whatever the end, pieces are long enough and the same",
  (speech) => {
    for (let end = 29_500; end <= 62_000; end += 130) {
      const whole = planned([[0, end]], 0, 30_000, speech);
      const planner = new Planner({ mergeMs: 0, maxMs: 30_000 }, speech);
      const grown = [];
      for (let sure = 700; sure <= end; sure += 700) grown.push(...planner.grow(0, sure));
      grown.push(...planner.add({ startMs: 0, endMs: end }), ...planner.end());
      expect(grown.map(({ startMs, endMs }) => [startMs, endMs])).toEqual(whole);
      for (const [from, to] of whole) expect(to - from, `${end}`).toBeGreaterThanOrEqual(1000);
    }
  },
);

test("of equals the last time is taken; no probabilities leave the end", () => {
  expect(leastSpeech(flat, { startMs: 1000, endMs: 2000 })).toBe(1990);
  expect(leastSpeech(() => new Float32Array(0), { startMs: 1000, endMs: 2000 })).toBe(2000);
});
