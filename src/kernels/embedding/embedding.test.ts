import { index, matrix, subset } from "mathjs";
import { describe, expect, test } from "vitest";
import { keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { fromFloat32, toFloat32 } from "../../formats/dtypes.js";
import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { embedding } from "./embedding.js";
import { embeddingRef } from "./embedding.ref.js";

// Exact rows: every storage type, widths around the workgroup of 64 pairs and the real one, the
// first and the last id, past 65,535 rows and workgroups, a table in pieces; then the refusals.
const gpu = useGpu();

type DType = "f32" | "bf16" | "f16";

async function run(
  g: Gpu,
  ids: number[],
  vocabulary: number,
  width: number,
  dtype: DType,
): Promise<[number[], number[]]> {
  const data = values(vocabulary * width, 1);
  const table = keepWeights(g, data, [vocabulary, width], dtype);
  const got = await runOp(g, () => embedding(g, g.upload(new Uint32Array(ids), [ids.length]), table));
  freeMatrix(g, table);
  const name = dtype.toUpperCase() as "F32" | "BF16" | "F16";
  return [[...got], [...embeddingRef(ids, toFloat32(fromFloat32(data, name), name), width)]];
}

test("the reference agrees with mathjs", () => {
  const table = [[1, 2], [3, 4], [5, 6]]; // prettier-ignore
  const want = subset(matrix(table), index([2, 0, 2], [0, 1])).toArray() as number[][];
  expect([...embeddingRef([2, 0, 2], table.flat(), 2)]).toEqual(want.flat());
});

describe.each<DType>(["f32", "bf16", "f16"])("%s", (dtype) => {
  test.each([
    [1, 1, 4],
    [5, 131, 124],
    [5, 131, 128],
    [5, 131, 132],
    [67, 997, 1024],
  ])("%i ids of %i, width %i", async (count, vocabulary, width) => {
    const ids = Array.from({ length: count }, (_, i) => (i * 7919) % vocabulary);
    ids[0] = vocabulary - 1;
    const [got, want] = await run(gpu(), ids, vocabulary, width, dtype);
    expect(got).toEqual(want);
  });

  test("a table in pieces", async () => {
    const small = (await openDevice()).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
    const ids = [130, 0, 9, 10, 19, 20, 21, 39, 40, 99]; // the ends of pieces of 10 rows (f32) and of 20
    const [got, want] = await run(small, ids, 131, 100, dtype);
    expect(got).toEqual(want);
    small.destroy();
  });
});

test.each([
  [65_537, 4],
  [131_073, 64], // 65,537 workgroups
])("%i ids, width %i", async (count, width) => {
  const ids = Array.from({ length: count }, (_, i) => i % 31);
  const [got, want] = await run(gpu(), ids, 31, width, "bf16");
  expect(got.findIndex((value, i) => value !== want[i])).toBe(-1);
  expect(got.length).toBe(want.length);
});

test("refusals", async () => {
  const odd = keepMatrix(gpu(), 5, 6, "bf16");
  const even = keepMatrix(gpu(), 5, 8, "bf16");
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  await refused(() => embedding(gpu(), gpu().empty([3]), even), "embedding: ids must be u32, got f32");
  await refused(
    () => embedding(gpu(), gpu().empty([3, 1], "u32"), even),
    "embedding: ids must be [3], got [3, 1]",
  );
  await refused(
    () => embedding(gpu(), gpu().empty([3], "u32"), odd),
    "embedding: table must have a multiple of 4 columns, got 6",
  );
  for (const table of [odd, even]) freeMatrix(gpu(), table);
});
