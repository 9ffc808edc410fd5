import { expect, test } from "vitest";
import { lowerLimits, useGpu } from "../../test/gpu.js";
import { GpuError } from "./errors.js";
import { freeMatrix, keepMatrix, weightCode, writeMatrix } from "./matrix.js";
import type { WeightFormat } from "./matrix.js";

// Bytes through matrices of one and of many pieces, written in parts that begin and end anywhere;
// sizes of the pieces; the refusals.
const gpu = useGpu();
const limit = 4096;
const lower = (): void =>
  lowerLimits(gpu(), { maxStorageBufferBindingSize: limit, maxBufferSize: 2 * limit });

test.each<[WeightFormat, number, number, number]>([
  ["f32", 37, 20, 1],
  ["f32", 61, 140, 9],
  ["bf16", 61, 140, 5],
  ["f16", 3, 2, 1],
  ["f32", 5, 1024, 5],
])("%s [%i, %i] in %i pieces", async (dtype, rows, columns, pieces) => {
  lower();
  const matrix = keepMatrix(gpu(), rows, columns, dtype);
  expect(matrix.pieces.length).toBe(pieces);
  let next = 0;
  for (const { first, rows: count, tensor } of matrix.pieces) {
    expect(first).toBe(next);
    expect(tensor.shape).toEqual([count, columns]);
    expect(tensor.bytes).toBeLessThanOrEqual(limit);
    next += count;
  }
  expect(next).toBe(rows);

  const size = rows * columns * (dtype === "f32" ? 4 : 2);
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7919) >>> 4);
  const step = 4 * 613; // a prime number of words, so that parts straddle rows and pieces
  for (let at = 0; at < size; at += step) {
    const whole = new Uint8Array([9, 9, 9, ...bytes.subarray(at, at + step)]); // a view at an odd offset
    writeMatrix(gpu(), matrix, whole.subarray(3), at);
  }
  const read: number[] = [];
  await gpu().step(() => {
    for (const { tensor } of matrix.pieces) {
      void gpu()
        .read(tensor)
        .then((data) => read.push(...new Uint8Array(data.buffer)));
    }
    return [];
  });
  expect(read).toEqual([...bytes]);
  freeMatrix(gpu(), matrix);
  expect(gpu().bytes.kept).toBe(0);
});

test("refusals", () => {
  lower();
  expect(() => keepMatrix(gpu(), 2, 1025, "f32")).toThrow(
    new GpuError("a matrix row of 4100 bytes passes the binding limit of 4096"),
  );
  expect(() => gpu().keep([3, 1024], "f32")).toThrow(
    new GpuError("[3, 1024] f32 takes 12288 bytes, a buffer holds 8192"),
  );
  const matrix = keepMatrix(gpu(), 1, 4, "f32");
  expect(() => gpu().write(matrix.pieces[0].tensor, new Float32Array(3), 8)).toThrow(
    new GpuError("write of 12 bytes at 8 passes the tensor's 16"),
  );
  freeMatrix(gpu(), matrix);
});

test("codes of the storage types", () => {
  expect((["f32", "bf16", "f16"] as const).map(weightCode)).toEqual([0, 1, 2]);
});
