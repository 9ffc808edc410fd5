import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { keepMatrix, freeMatrix } from "../gpu/matrix.js";
import { GpuError } from "../gpu/errors.js";
import { makeSegments } from "../gpu/segments.js";
import { Timing } from "../gpu/timing.js";
import { attention } from "../kernels/attention/attention.js";
import { linear } from "../kernels/linear/linear.js";
import { costOf, countedKernels } from "./costs.js";

// The table holds every kernel and no other. Products and attention, as the engine runs them, against counts made by hand.
const gpu = useGpu({ timestamps: true });

test("every kernel is in the table, and nothing else", () => {
  const root = new URL("../kernels/", import.meta.url);
  const files = readdirSync(root, { recursive: true, encoding: "utf8" });
  const kernels = files.filter((file) => file.endsWith(".wgsl")).map((file) => file.slice(0, -5));
  expect([...countedKernels].sort()).toEqual(kernels.sort());
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

test("a kernel that the table does not hold, ranges that were not seen", () => {
  const dispatch = { params: {}, tensors: {}, groups: 1 };
  expect(() => costOf("toString", dispatch)).toThrow(
    new GpuError("profile: toString: expected a kernel of the table of costs, got another"),
  );
  expect(() => costOf("attention/attention", dispatch)).toThrow(
    new GpuError("profile: attention's ranges must be written while timing, got none"),
  );
});
