import { describe, expect, test } from "vitest";
import { uniformNumbers } from "../random.js";
import { type AlignmentInput, align, canAlign, forwardBackward } from "./alignment.js";

// The recursion against the sum over every path; the gradient against central differences, the
// frames' shares held where the loss holds them; what cannot be aligned; long clips and scores of
// any size.
const random = uniformNumbers(11);
const normal = (): number => random() + random() + random() - 1.5;

/** Every path of `frames` states through pause, token, pause, … that is allowed. */
function paths(frames: number, columns: readonly number[]): number[][] {
  const last = 2 * columns.length;
  const found: number[][] = [];
  const grow = (path: number[]): void => {
    const state = path.at(-1)!;
    if (path.length === frames) {
      if (state >= last - 1) found.push(path);
      return;
    }
    for (let next = state; next <= Math.min(state + 2, last); next++) {
      const token = (s: number): number | undefined => (s % 2 === 0 ? undefined : columns[s >> 1]);
      if (next === state + 2 && (token(next) === undefined || token(next) === token(state))) continue;
      grow([...path, next]);
    }
  };
  grow([0]);
  if (last > 0) grow([1]);
  return found;
}

const transcripts: (readonly [frames: number, columns: readonly number[]])[] = [
  [1, []],
  [4, []],
  [1, [3]],
  [5, [3]],
  [2, [1, 2]],
  [3, [2, 2]],
  [6, [2, 2, 1]],
  [7, [1, 2, 1]],
  [6, [4, 4, 4]], // needs five
];

describe("forward-backward", () => {
  test.each(transcripts)("%i frames, tokens %j: the sum over every path", (frames, columns) => {
    const count = 2 * columns.length + 1;
    const logP = Float64Array.from({ length: frames * count }, () => 3 * normal());
    const all = paths(frames, columns);
    expect(all.length).toBeGreaterThan(0);
    const weights = all.map((path) => Math.exp(path.reduce((sum, s, t) => sum + logP[t * count + s], 0)));
    const total = weights.reduce((a, b) => a + b, 0);
    const shares = new Float64Array(logP.length);
    for (const [i, path] of all.entries())
      for (const [t, s] of path.entries()) shares[t * count + s] += weights[i] / total;
    const got = forwardBackward(logP, columns);
    expect(got.total).toBeCloseTo(Math.log(total), 12);
    for (const [i, share] of shares.entries()) expect(got.shares[i]).toBeCloseTo(share, 12);
  });

  test("too few frames have no path, and are refused", () => {
    const short: (readonly [number, number[]])[] = [
      [0, []],
      [1, [1, 2]],
      [2, [2, 2]],
      [4, [4, 4, 4]],
    ];
    for (const [frames, columns] of short) {
      expect(paths(Math.max(1, frames), columns).length > 0 && frames > 0).toBe(false);
      expect(canAlign(frames, columns)).toBe(false);
      const logP = new Float64Array(frames * (2 * columns.length + 1));
      expect(() => forwardBackward(logP, columns)).toThrow(/^align: frames must be at least/);
    }
    for (const [frames, columns] of transcripts) expect(canAlign(frames, columns)).toBe(true);
  });

  test("3,000 frames of very unlikely tokens: shares of a frame sum to one", () => {
    const columns = Array.from({ length: 40 }, (_, i) => 1 + (i % 3));
    const count = 2 * columns.length + 1;
    const { total, shares } = forwardBackward(
      Float64Array.from({ length: 3000 * count }, () => -100 + 50 * normal()),
      columns,
    );
    expect(total).toBeLessThan(-1e5);
    for (let t = 0; t < 3000; t += 500) {
      const row = shares.subarray(t * count, (t + 1) * count);
      expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 8);
    }
  });
});

const [width, tokens] = [5, 5];
const embeddings = Float64Array.from({ length: tokens * width }, normal);
const clips = transcripts.map(([frames, columns]) => ({ frames, columns }));
const rows = clips.reduce((sum, { frames }) => sum + frames, 0);

function input(audio: Float64Array, pull: number): AlignmentInput {
  const products = new Float64Array(rows * tokens);
  for (let t = 0; t < rows; t++)
    for (let k = 0; k < tokens; k++)
      for (let d = 0; d < width; d++)
        products[t * tokens + k] += audio[t * width + d] * embeddings[k * width + d];
  const squares = audio.reduce((sum, x) => sum + x * x, 0);
  return { products, embeddings, tokens, squares, clips, denominator: rows, sharpness: 4, pull };
}

/** da of [rows, width], as the GPU forms it. */
function gradient(audio: Float64Array, pull: number): Float64Array {
  const { weights, factor } = align(input(audio, pull));
  return audio.map((a, i) => {
    const [t, d] = [Math.floor(i / width), i % width];
    let sum = factor * a;
    for (let k = 0; k < tokens; k++) sum += weights[t * tokens + k] * embeddings[k * width + d];
    return sum;
  });
}

describe("align", () => {
  const audio = Float64Array.from({ length: rows * width }, normal);

  test("without the pull: the gradient is that of central differences", () => {
    const got = gradient(audio, 0);
    const step = 1e-5;
    const at = (i: number, by: number): number => {
      const moved = audio.slice();
      moved[i] += by;
      return align(input(moved, 0)).loss;
    };
    for (const [i, value] of got.entries())
      expect(value).toBeCloseTo((at(i, step) - at(i, -step)) / (2 * step), 7);
  });

  test("the pull: towards the frame's share of each embedding, which is held", () => {
    const variance = embeddings.reduce((sum, e) => sum + e * e, 0) / tokens / 4;
    const pulled = gradient(audio, 0.7).map((value, i) => value - gradient(audio, 0)[i]);
    let distance = 0;
    let first = 0;
    for (const { frames, columns } of clips) {
      const count = 2 * columns.length + 1;
      const logP = new Float64Array(frames * count);
      const column = (s: number): number => (s % 2 === 0 ? 0 : columns[s >> 1]);
      for (let t = 0; t < frames; t++) {
        const scores = Array.from({ length: tokens }, (_, k) => {
          let sum = 0;
          for (let d = 0; d < width; d++) {
            const e = embeddings[k * width + d];
            sum += (audio[(first + t) * width + d] - e / 2) * e;
          }
          return sum / variance;
        });
        const norm = Math.log(scores.reduce((sum, score) => sum + Math.exp(score), 0));
        for (let s = 0; s < count; s++) logP[t * count + s] = scores[column(s)] - norm;
      }
      const { shares } = forwardBackward(logP, columns);
      for (let t = 0; t < frames; t++) {
        for (let d = 0; d < width; d++) {
          const i = (first + t) * width + d;
          let target = 0;
          for (let s = 0; s < count; s++) target += shares[t * count + s] * embeddings[column(s) * width + d];
          expect(pulled[i]).toBeCloseTo((0.7 * (audio[i] - target)) / (variance * rows), 7);
          distance += (audio[i] - target) ** 2;
        }
      }
      first += frames;
    }
    const difference = align(input(audio, 0.7)).loss - align(input(audio, 0)).loss;
    expect(difference).toBeCloseTo((0.7 * distance) / (2 * variance * rows), 10);
  });

  test("what is not finite makes the loss so", () => {
    const broken = audio.slice();
    broken[7] = NaN;
    expect(align(input(broken, 0.1)).loss).toBeNaN();
  });
});
