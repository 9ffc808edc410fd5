import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { kernelFiles, kernelRoot, opFolders } from "../../test/helpers/kernel-files.js";
import { keepMatrix, freeMatrix } from "../gpu/matrix.js";
import { GpuError } from "../gpu/errors.js";
import { makeSegments } from "./attention/segments.js";
import { Timing } from "../gpu/timing.js";
import { attention } from "./attention/attention.js";
import { layerNorm } from "./layer-norm/layer-norm.js";
import { linear } from "./linear/linear.js";
import { rmsNormBackward } from "./rms-norm/rms-norm-backward.js";
import { rmsNorm } from "./rms-norm/rms-norm.js";
import type { Tensor } from "../gpu/tensor.js";
import { costOf, countedKernels } from "./cost.js";

// Every kernel file has a cost. Products and attention, as the engine runs them, against counts
// made by hand.
const gpu = useGpu({ timestamps: true });

test("every kernel below src/kernels declares its cost, and nothing else does", async () => {
  for (const folder of opFolders())
    for (const file of readdirSync(new URL(folder, kernelRoot)))
      if (/^[\w-]+\.ts$/.test(file)) await import(new URL(`${folder}/${file}`, kernelRoot).href);
  expect([...countedKernels()].sort()).toEqual(kernelFiles().sort());
});

/** The costs of what `body` runs, added up. */
async function counted(body: () => void): Promise<{ flops: number; bytes: number }> {
  const timing = (gpu().timing = new Timing(gpu().device));
  try {
    await gpu().step(() => (body(), []));
  } finally {
    gpu().timing = undefined;
  }
  const { dispatches } = await timing.collect();
  const costs = dispatches.map(({ kernel, dispatch, contents }) => costOf(kernel.name, dispatch, contents));
  return {
    flops: costs.reduce((sum, { flops }) => sum + flops!, 0),
    bytes: costs.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

describe("linear", () => {
  test.each([
    [1, "bf16", 2],
    [1, "f32", 4],
    [3, "q8", 1 + 1 / 16],
    [17, "q4", 144 / 256],
  ] as const)("%i rows, %s", async (rows, format, weightBytes) => {
    const [k, n] = [256, 40];
    const w = keepMatrix(gpu(), n, k, format);
    const got = await counted(() => void linear(gpu(), gpu().empty([rows, k]), w));
    expect(got).toEqual({
      flops: 2 * rows * k * n,
      bytes: 4 * rows * k + weightBytes * n * k + 4 * rows * n,
    });
    freeMatrix(gpu(), w);
  });

  test("a bias is read once", async () => {
    const w = keepMatrix(gpu(), 8, 64, "f32");
    const got = await counted(() => void linear(gpu(), gpu().empty([2, 64]), w, { bias: gpu().empty([8]) }));
    expect(got.bytes).toBe(4 * (2 * 64 + 8 * 64 + 2 * 8 + 8));
    freeMatrix(gpu(), w);
  });
});

test.each([
  [32, "rows of whole vec4"],
  [33, "others"],
])("norms of width %i, %s", async (width) => {
  const part = (...shape: number[]): Tensor => gpu().empty(shape);
  const [x, gamma] = [() => part(5, width), () => part(width)];
  const rms = await counted(() => void rmsNorm(gpu(), x(), gamma()));
  expect(rms).toEqual({ flops: 4 * 5 * width, bytes: 4 * (2 * 5 * width + width) });
  const layer = await counted(() => void layerNorm(gpu(), x(), gamma(), part(width)));
  expect(layer).toEqual({ flops: 8 * 5 * width, bytes: 4 * (2 * 5 * width + 2 * width) });
  const stats = 16 * 5;
  const back = await counted(() => void rmsNormBackward(gpu(), x(), x(), gamma()));
  expect(back).toEqual({ flops: 10 * 5 * width, bytes: 4 * (3 * 5 * width + width) + stats });
});

test("Params that a cost is not counted by are refused", () => {
  const dispatch = { params: { rows: 2 }, tensors: {}, groups: 1 };
  expect(() => costOf("rms-norm/rms-norm", dispatch)).toThrow(
    new GpuError('profile: rms-norm/rms-norm: expected Params that its cost is counted by, got {"rows":2}'),
  );
});

test("attention counts the pairs of its ranges, and the keys that are seen", async () => {
  const [lengths, heads, headDim] = [[5, 3], 2, 8];
  const width = heads * headDim;
  const got = await counted(() => {
    const [q, k, v] = [0, 1, 2].map(() => gpu().empty([8, width]));
    const { ranges, tiles } = makeSegments(gpu(), lengths);
    attention(gpu(), q, k, v, { heads, ranges, tiles });
  });
  const pairs = 5 * 5 + 3 * 3;
  const tables = 8 * 8 + 8 * 2; // ranges of 8 rows, two tiles
  expect(got).toEqual({ flops: 4 * pairs * width, bytes: 4 * (4 * 8 * width) + tables });
});

test("a kernel without a cost, ranges that were not seen", () => {
  const dispatch = { params: {}, tensors: {}, groups: 1 };
  expect(() => costOf("toString", dispatch)).toThrow(
    new GpuError("profile: toString: expected a kernel with a declared cost, got one without"),
  );
  expect(() => costOf("attention/attention", dispatch)).toThrow(
    new GpuError("profile: attention's ranges must be written while timing, got none"),
  );
});
