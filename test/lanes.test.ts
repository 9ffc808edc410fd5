import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Gpu } from "../src/gpu/device.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { type Matrix, type WeightFormat, freeMatrix } from "../src/gpu/matrix.js";
import { attention } from "../src/kernels/attention/attention.js";
import { attentionBackward } from "../src/kernels/attention/attention-backward.js";
import { makeTiles } from "../src/kernels/attention/segments.js";
import { layerNormBackward } from "../src/kernels/layer-norm/layer-norm-backward.js";
import { layerNorm } from "../src/kernels/layer-norm/layer-norm.js";
import { inputGrad } from "../src/kernels/linear/linear-grad.js";
import { linear } from "../src/kernels/linear/linear.js";
import { qkNormRope } from "../src/kernels/qk-norm-rope/qk-norm-rope.js";
import { rmsNormBackward } from "../src/kernels/rms-norm/rms-norm-backward.js";
import { rmsNorm } from "../src/kernels/rms-norm/rms-norm.js";
import { keepWeights, openEmulated, useGpu, values } from "./gpu.js";
import { emulateSubgroups } from "./helpers/emulated-subgroups.js";
import { keepQuantized } from "./helpers/quantized.js";

// Plan: each kernel for subgroups gives the bits of this device's own subgroups at 32 lanes, by
// emulation. So the order of its sums depends on the length alone. Rows, columns and widths lie beside
// the tiles. The emulation refuses what it does not know. `npm run check:lanes` takes 4, 16 and 64
// lanes too, and shapes whose emulated kernels compile slowly.
const own = useGpu();
const asked = process.env.FUNASR_WEBGPU_TEST_LANES;
const lanes = (asked ?? "32").split(",").map(Number);
const emulated = new Map<number, Gpu>();
beforeAll(async () => {
  for (const count of lanes) emulated.set(count, (await openEmulated(count)).gpu);
});
afterAll(() => emulated.forEach((gpu) => gpu.destroy()));

type Op = (gpu: Gpu) => Promise<readonly unknown[]>;

/** One op's inputs are uploaded, and all of its results are read. */
function step(op: (gpu: Gpu, up: (seed: number, shape: readonly number[]) => Tensor) => Tensor[]): Op {
  return (gpu) =>
    gpu.step(() =>
      op(gpu, (seed, shape) =>
        gpu.upload(
          values(
            shape.reduce((a, b) => a * b),
            seed,
          ),
          [...shape],
        ),
      ),
    );
}

function product(format: WeightFormat, rows: number, columns: number, width: number): Op {
  return async (gpu) => {
    const data = values(columns * width, 7);
    const packed = format === "q8" || format === "q4";
    const w: Matrix = packed
      ? keepQuantized(gpu, data, [columns, width], format).matrix
      : keepWeights(gpu, data, [columns, width], format);
    const run = step((g, up) => [
      linear(g, up(1, [rows, width]), w, { bias: up(2, [columns]), residual: up(3, [rows, columns]) }),
      inputGrad(g, up(4, [rows, columns]), w),
    ]);
    const results = await run(gpu);
    freeMatrix(gpu, w);
    return results;
  };
}

/** Attention and its gradients over clips, each row of which sees itself and what comes before. */
function attentionAt(heads: number, kvHeads: number, headDim: number, lengths: readonly number[]): Op {
  const rows = lengths.reduce((a, b) => a + b);
  let first = 0;
  const ranges = lengths.flatMap((length) => {
    const start = first;
    first += length;
    return Array.from({ length }, (_, r) => [start, start + r + 1]).flat();
  });
  return step((g, up) => {
    const table = g.upload(new Uint32Array(ranges), [rows, 2]);
    const options = { heads, kvHeads, ranges: table, tiles: makeTiles(g, lengths) };
    const [q, dy] = [up(1, [rows, heads * headDim]), up(4, [rows, heads * headDim])];
    const [k, v] = [up(2, [rows, kvHeads * headDim]), up(3, [rows, kvHeads * headDim])];
    const out = attention(g, q, k, v, options);
    const { dq, dk, dv } = attentionBackward(g, dy, { q, k, v, out }, options);
    return [out, dq, dk, dv];
  });
}

/** One row a clip, which sees `keys` keys of its own. */
function oneRow(heads: number, kvHeads: number, headDim: number, keys: number): Op {
  return step((g, up) => {
    const ranges = g.upload(new Uint32Array([0, keys, keys, 2 * keys]), [2, 2]);
    const [k, v] = [up(2, [2 * keys, kvHeads * headDim]), up(3, [2 * keys, kvHeads * headDim])];
    const options = { heads, kvHeads, ranges, tiles: makeTiles(g, [1, 1]) };
    return [attention(g, up(1, [2, heads * headDim]), k, v, options)];
  });
}

const norms = step((g, up) => {
  const [x, gamma, beta, dy] = [up(1, [5, 560]), up(2, [560]), up(3, [560]), up(4, [5, 560])];
  const byLayer = layerNormBackward(g, dy, x, gamma, 1e-5);
  return [
    rmsNorm(g, x, gamma),
    layerNorm(g, x, gamma, beta),
    rmsNormBackward(g, dy, x, gamma).dx,
    byLayer.dx,
  ];
});

const rotated = step((g, up) => {
  const [rows, headDim] = [3, 128];
  const keys = up(5, [rows, 2 * headDim]);
  const stored = up(6, [rows, 2 * headDim]);
  const slots = g.upload(new Uint32Array([0, 2, 1, 0, 2, 1]), [rows, 2]);
  const options = {
    qNorm: up(2, [headDim]),
    kNorm: up(3, [headDim]),
    eps: 1e-6,
    slots,
    keys,
    values: stored,
  };
  const angles = up(4, [rows, headDim / 2, 2]);
  return [qkNormRope(g, up(1, [rows, 8 * headDim]), { ...options, angles }), keys, stored];
});

const ops: Record<string, Op> = {
  "products of f32, 1 row": product("f32", 1, 70, 264),
  "products of bf16, 1 row": product("bf16", 1, 130, 520),
  "products of q8, 1 row": product("q8", 1, 70, 288),
  "products of q4, 1 row": product("q4", 1, 70, 512),
  "products of f32, 19 rows, 300 columns": product("f32", 19, 300, 40),
  norms,
  "norms and rotation": rotated,
  "attention and its gradients, heads of 32": attentionAt(4, 2, 32, [150, 1, 5]),
  "attention and its gradients, heads of 128": attentionAt(2, 1, 128, [18, 3]),
  "attention of one row, 40 keys": oneRow(4, 2, 128, 40),
  "attention of one row, 300 keys": oneRow(2, 1, 64, 300),
};

const slow: Record<string, Op> = {
  "products of bf16, 6 rows": product("bf16", 6, 130, 264),
  "products of q8, 19 rows": product("q8", 19, 70, 288),
  "products of q4, 19 rows": product("q4", 19, 70, 512),
};

describe.each(Object.entries(asked === undefined ? ops : { ...ops, ...slow }))("%s", (_name, op) => {
  test.each(lanes)("%i lanes", async (count) => {
    const [want, got] = [await op(own()), await op(emulated.get(count)!)];
    expect(got).toEqual(want);
  });
});

describe("the emulation", () => {
  const kernel = (body: string): string =>
    `enable subgroups;\nfn main(@builtin(subgroup_invocation_id) lane: u32) {\n${body}\n}\n`;

  test.each([
    ["var a = array<vec4f, 2>();\nlet b = subgroupShuffle(a[1], 0u);", "emulated_vec4f(a[1], 0u)"],
    ["var a = array<vec4f, 2>();\nlet b = subgroupShuffle(a[1][2], 0u);", "emulated_f32(a[1][2], 0u)"],
    ["var a: array<u32, 2>;\nlet b = subgroupShuffle(a[1], 3u);", "emulated_u32(a[1], 3u)"],
    ["var a = 1.0;\na += subgroupShuffleXor(a, 2u);", "emulated_f32(a, emulated_lane ^ (2u))"],
  ])("%j", (body, call) => expect(emulateSubgroups(kernel(body))).toContain(call));

  test("a subgroup function that it does not know is refused", () =>
    expect(() => emulateSubgroups(kernel("let a = subgroupAdd(1.0);"))).toThrow(
      "emulateSubgroups: expected shuffles, got subgroupAdd",
    ));

  test("a kernel without subgroups stays as it is", () =>
    expect(emulateSubgroups("fn main() {}")).toBe("fn main() {}"));
});
