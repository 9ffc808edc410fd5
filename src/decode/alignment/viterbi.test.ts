import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { lowbias32 } from "../../hash.js";
import { type Emissions, leastFrames, viterbi } from "./viterbi.js";

interface Case {
  readonly frames: number;
  readonly columns: number;
  readonly blank: number;
  readonly targets: readonly number[];
  readonly ties: boolean;
  readonly seed: number;
  readonly path: readonly number[] | null;
}

const file = new URL("../../../test/fixtures/forced-align.json.gz", import.meta.url);
const cases = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Case[];

function emissions({ frames, columns, blank, ties, seed }: Omit<Case, "targets" | "path">): Emissions {
  const stream = lowbias32(seed);
  const value = (_: unknown, i: number): number => {
    const hash = lowbias32((stream + i) >>> 0);
    return ties ? (hash >>> 30) / -2 : (hash >>> 16) / -1000;
  };
  return { data: Float32Array.from({ length: frames * columns }, value), frames, columns, blank };
}

/** Sum of the log-probabilities on a path of columns. */
function score({ data, columns }: Emissions, path: readonly number[]): number {
  return path.reduce((sum, column, t) => sum + data[t * columns + column], 0);
}

/** Every path of columns that the targets have in so many frames. */
function* allPaths(targets: readonly number[], blank: number, frames: number): Generator<number[]> {
  const walk = function* (state: number, path: number[]): Generator<number[]> {
    const column = (s: number): number => (s % 2 === 0 ? blank : targets[s >> 1]);
    const here = [...path, column(state)];
    if (here.length === frames) {
      if (state >= 2 * targets.length - 1) yield here;
      return;
    }
    for (const next of [state, state + 1, state + 2]) {
      const skips = next === state + 2 && (next % 2 === 0 || column(next) === column(state));
      if (next <= 2 * targets.length && !skips) yield* walk(next, here);
    }
  };
  yield* walk(0, []);
  if (targets.length > 0) yield* walk(1, []);
}

// Plan: torchaudio's path for each of 600 random cases, half of them full of ties; the best of all
// paths in f64; long clips, whose path is found in blocks; the refusals.
describe("viterbi", () => {
  it(`gives torchaudio's path in ${cases.length} cases`, () => {
    expect(cases.length).toBeGreaterThanOrEqual(500);
    expect(cases.filter(({ path }) => path === null).length).toBeGreaterThan(10);
    for (const one of cases) {
      const path = viterbi(emissions(one), one.targets);
      const columns = path && Array.from(path, (token) => (token < 0 ? one.blank : one.targets[token]));
      expect({ ...one, path: columns ?? null }).toEqual(one);
    }
  });

  it.each([
    ["one token", [1]],
    ["two tokens", [1, 2]],
    ["equal neighbours", [2, 2]],
    ["equal neighbours and others", [1, 1, 2]],
    ["no token", []],
  ])("finds the best of all paths, in f64: %s", (_, targets) => {
    for (let seed = 0; seed < 20; seed++) {
      for (const frames of [leastFrames(targets) || 1, 5, 6]) {
        const e = emissions({ frames, columns: 3, blank: 0, ties: false, seed });
        const exact = { ...e, data: Float64Array.from(e.data) };
        const path = viterbi(exact, targets)!;
        const columns = Array.from(path, (token) => (token < 0 ? 0 : targets[token]));
        const best = Math.max(...[...allPaths(targets, 0, frames)].map((other) => score(exact, other)));
        expect(score(exact, columns)).toBe(best);
      }
    }
  });

  it("gives the same path in f32 and f64 to a long clip whose tokens are certain", () => {
    const targets = Array.from({ length: 200 }, (_, i) => 1 + (i % 5));
    const data = new Float32Array(900 * 6).fill(-9);
    const truth = Array.from({ length: 900 }, (_, t) => (t % 4 < 2 && t < 800 ? t >> 2 : -1));
    truth.forEach((token, t) => (data[t * 6 + (token < 0 ? 0 : targets[token])] = -0.1));
    const e = { data, frames: 900, columns: 6, blank: 0 };
    expect(Array.from(viterbi(e, targets)!)).toEqual(truth);
    expect(viterbi({ ...e, data: Float64Array.from(data) }, targets)).toEqual(viterbi(e, targets));
  });

  it.each([
    ["fewer frames than tokens", 2, [1, 2, 1]],
    ["no frame for the blank between equal tokens", 2, [1, 1]],
    ["no frames", 0, []],
  ])("refuses %s", (_, frames, targets) => {
    const e = emissions({ frames, columns: 3, blank: 0, ties: false, seed: 1 });
    expect(viterbi(e, targets)).toBeUndefined();
  });

  it("refuses a product of frames and tokens that takes minutes", () => {
    const e = { data: new Float32Array(0), frames: 2 ** 20, columns: 2, blank: 0 };
    expect(viterbi(e, new Int32Array(2 ** 18).fill(1))).toBeUndefined();
  });
});
