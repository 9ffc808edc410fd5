import { describe, expect, test } from "vitest";
import { expectClose, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import type { Tensor } from "../../gpu/tensor.js";
import { copyRows } from "../copy-rows/copy-rows.js";
import { rmsNorm } from "../rms-norm/rms-norm.js";
import { rope, ropeAngles } from "../rope/rope.js";
import { qkNormRope } from "./qk-norm-rope.js";
import { qkNormRopeRef } from "./qk-norm-rope.ref.js";

// Queries, keys and values against f64 and, bit for bit, against the three kernels that it stands
// in for: heads of the real models and odd ones, pairs around a workgroup, rows in any order of
// cache rows, other cache rows untouched; past 65,535 workgroups; then the refusals.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 1.5e-7; // as rms-norm and rope, one after the other

interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rows: number;
}

const eps = 1e-6;
const theta = 1e6;

/** Inputs of a case: row r goes to cache row 2 · (rows - 1 - r), its position is 3 r + 1. */
function inputs({ heads, kvHeads, headDim, rows }: Case) {
  const positions = Array.from({ length: rows }, (_, r) => 3 * r + 1);
  return {
    qkv: values(rows * (heads + 2 * kvHeads) * headDim, 1),
    gammas: [values(headDim, 2, 1), values(headDim, 3, 1)] as const,
    positions,
    slots: new Uint32Array(positions.flatMap((_, r) => [r, 2 * (rows - 1 - r)])),
    cacheRows: 2 * rows,
  };
}

type Result = readonly [q: Float32Array, keys: Float32Array, values: Float32Array];

/** Runs the op, or the ops that it stands in for, over a cache of sevens. */
async function run(c: Case, fused: boolean, g = gpu()): Promise<Result> {
  const { heads, kvHeads, headDim, rows } = c;
  const { qkv, gammas, positions, slots, cacheRows } = inputs(c);
  const [q, k, v] = await g.step(() => {
    const cache = (): Tensor =>
      g.upload(new Float32Array(cacheRows * kvHeads * headDim).fill(7), [cacheRows, kvHeads * headDim]);
    const [keys, stored] = [cache(), cache()];
    const [qNorm, kNorm] = gammas.map((gamma) => g.upload(gamma, [headDim]));
    const angles = g.upload(ropeAngles(positions, headDim, theta), [rows, headDim / 2, 2]);
    const pairs = g.upload(slots, [rows, 2]);
    const all = (heads + 2 * kvHeads) * headDim;
    if (fused) {
      const options = { qNorm, kNorm, eps, angles, slots: pairs, keys, values: stored };
      return [qkNormRope(g, g.upload(qkv, [rows, all]), options), keys, stored];
    }
    const part = (from: number, to: number): Tensor => {
      const columns = positions.flatMap((_, r) => [
        ...qkv.subarray(r * all + from * headDim, r * all + to * headDim),
      ]);
      return g.upload(new Float32Array(columns), [rows, (to - from) * headDim]);
    };
    const turned = (x: Tensor, gamma: Tensor): Tensor => rope(g, rmsNorm(g, x, gamma, eps), angles);
    copyRows(g, turned(part(heads, heads + kvHeads), kNorm), pairs, keys);
    copyRows(g, part(heads + kvHeads, heads + 2 * kvHeads), pairs, stored);
    return [turned(part(0, heads), qNorm), keys, stored];
  });
  return [q, k, v] as unknown as Result;
}

const cases: Case[] = [
  { heads: 16, kvHeads: 8, headDim: 128, rows: 3 },
  { heads: 4, kvHeads: 2, headDim: 24, rows: 5 },
  { heads: 3, kvHeads: 3, headDim: 2, rows: 1 },
  { heads: 5, kvHeads: 1, headDim: 66, rows: 2 },
  { heads: 1, kvHeads: 1, headDim: 512, rows: 2 },
  { heads: 2, kvHeads: 1, headDim: 4, rows: 16_500 }, // 66,000 workgroups
];

describe.each(cases)("$rows rows, $heads heads of $headDim on $kvHeads", (c) => {
  test("against f64", async () => {
    const { qkv, gammas, positions, slots, cacheRows } = inputs(c);
    const [q, keys, stored] = await run(c, true);
    const [wantQ, wantK, wantV] = qkNormRopeRef(qkv, gammas, positions, { kvHeads: c.kvHeads, eps, theta });
    expectClose(q, wantQ, bound);
    const width = c.kvHeads * c.headDim;
    const written = (data: Float32Array): Float32Array =>
      Float32Array.from(positions.flatMap((_, r) => [...data.subarray(slots[2 * r + 1] * width).slice(0, width)])); // prettier-ignore
    expectClose(written(keys), wantK, bound);
    expect(Float64Array.from(written(stored))).toEqual(wantV);
    for (let row = 1; row < cacheRows; row += 2) {
      for (const data of [keys, stored]) expect(data[row * width]).toBe(7);
    }
  });

  test("the bits of norm, rotation and copies, with subgroups and without", async () => {
    const apart = await run(c, false);
    for (const fused of [await run(c, true), await run(c, true, portable())])
      for (const [i, got] of fused.entries()) {
        expect(got.length).toBe(apart[i].length);
        expect(got.findIndex((value, at) => value !== apart[i][at])).toBe(-1);
      }
  });
});

test("refusals", async () => {
  const refused = async (
    [qkv, keys, norm, angles]: readonly [number[], number[], number, number[]],
    message: string,
  ): Promise<void> =>
    expect(
      gpu().step(() => {
        const g = gpu();
        const cache = g.empty(keys);
        const gamma = g.empty([norm]);
        const options = { qNorm: gamma, kNorm: gamma, eps, keys: cache, values: cache };
        const slots = g.empty([qkv[0], 2], "u32");
        return [qkNormRope(g, g.empty(qkv), { ...options, angles: g.empty(angles), slots })];
      }),
    ).rejects.toThrow(new ShapeError(`qkNormRope: ${message}`));
  const whole = "qkv must have whole heads of 32 columns beside twice the cache's";
  await refused([[3, 96 + 30], [9, 32], 32, [3, 16, 2]], `${whole} 32, got 126`);
  await refused([[3, 64], [9, 32], 32, [3, 16, 2]], `${whole} 32, got 64`);
  await refused([[3, 128], [9, 48], 32, [3, 16, 2]], `${whole} 48, got 128`);
  await refused([[3, 128], [9, 32], 32, [3, 8, 2]], "angles must be [3, 16, 2], got [3, 8, 2]");
  await refused([[128], [9, 32], 32, [3, 16, 2]], "qkv must have 2 dimensions, got [128]");
});
