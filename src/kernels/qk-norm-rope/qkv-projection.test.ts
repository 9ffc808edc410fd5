import { describe, expect, test } from "vitest";
import { keepWeights, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, freeMatrix } from "../../gpu/matrix.js";
import { Tape } from "../../gpu/tape.js";
import type { Tensor } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { addInto } from "../add/add-into.js";
import { ropeAngles } from "../rope/rope.js";
import { qkvProjection } from "./qkv-projection.js";

// One matrix and three give the same bits, with subgroups and without, over a cache and without
// one, for one row and several; a cache keeps its other rows. A gradient passes three matrices
// without a cache alone.
const [heads, kvHeads, headDim, width] = [3, 1, 8, 64];
const kvWidth = kvHeads * headDim;
const counts = [heads, kvHeads, kvHeads].map((of) => of * headDim);
const parts = counts.map((rows, i) => values(rows * width, i + 1));

describe.each([[true], [false]])("subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });

  /** One matrix, or three. */
  function keep(joined: boolean): readonly Matrix[] {
    if (!joined) return parts.map((part, i) => keepWeights(gpu(), part, [counts[i], width], "bf16"));
    const all = Float32Array.from(parts.flatMap((part) => [...part]));
    return [keepWeights(gpu(), all, [counts.reduce((sum, rows) => sum + rows, 0), width], "bf16")];
  }

  function project(x: Tensor, w: readonly Matrix[], cached: boolean): Tensor[] {
    const g = gpu();
    const [rows] = x.shape;
    const steps = Array.from({ length: rows }, (_, row) => row);
    const cache = (): Tensor => g.upload(new Float32Array((rows + 2) * kvWidth).fill(7), [rows + 2, kvWidth]);
    const {
      q,
      keys,
      values: stored,
    } = qkvProjection(g, x, w, {
      gamma: g.upload(values(width, 4, 1), [width]),
      qNorm: g.upload(values(headDim, 5, 1), [headDim]),
      kNorm: g.upload(values(headDim, 6, 1), [headDim]),
      eps: 1e-6,
      kvHeads,
      angles: g.upload(ropeAngles(steps, headDim, 1e4), [rows, headDim / 2, 2]),
      slots: g.upload(new Uint32Array(steps.flatMap((row) => [row, cached ? rows - row : row])), [rows, 2]),
      cache: cached ? { keys: cache(), values: cache() } : undefined,
    });
    return [q, keys, stored];
  }

  test.each([
    [1, true],
    [1, false],
    [5, true],
    [5, false],
  ])("%i rows, cache %s", async (rows, cached) => {
    const run = async (joined: boolean): Promise<unknown[]> => {
      const w = keep(joined);
      const got = await gpu().step(() =>
        project(gpu().upload(values(rows * width, 7), [rows, width]), w, cached),
      );
      for (const matrix of w) freeMatrix(gpu(), matrix);
      return got;
    };
    const got = await run(true);
    expect(got).toEqual(await run(false));
    const [q, keys] = got as Float32Array[];
    expect([q.length, keys.length]).toEqual([rows * counts[0], (cached ? rows + 2 : rows) * kvWidth]);
    if (cached) expect([keys[0], keys.at(-1)]).toEqual([7, 7]);
  });

  test.each([
    ["qkNormRope", true, false],
    ["KV cache", false, true],
  ])("%s: no gradient passes", async (op, joined, cached) => {
    const g = gpu();
    const w = keep(joined);
    const [value, gradient] = [g.keep([2, width], "f32"), g.keep([2, width], "f32")];
    const step = g.step(() => {
      g.tape = new Tape(g, [{ name: "x", value, gradient }], { add, addInto });
      try {
        project(value, w, cached);
      } finally {
        g.tape = undefined;
      }
      return [];
    });
    await expect(step).rejects.toThrow(
      new ShapeError(
        `${op}: expected inputs that nothing trained goes into, got one: no gradient passes this op; load the model with tune`,
      ),
    );
    for (const matrix of w) freeMatrix(g, matrix);
    for (const tensor of [value, gradient]) g.free(tensor);
  });
});
