import { expect, test } from "vitest";
import { expectClose, keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import { fromFloat32, toFloat32 } from "../../formats/dtypes.js";
import type { Gpu } from "../../gpu/device.js";
import { type Matrix, type WeightFormat, freeMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { linearInputGrad, linearWeightGrad } from "./linear-backward.js";
import { inputGradByTranspose, transposed, weightGradByTranspose } from "./linear-grad-transposed.js";
import { linearRef } from "./linear.ref.js";

// The transpose to the bit, with padding of 1 to 8 rows and every storage format; both gradients
// against f64: rows around a tile, terms around a block of 8 and a group of 256, one row of dx
// alone and among others; a missing number; where it does not apply.
const gpu = useGpu();
const bound = 4e-7; // as for linear

/** [rows, columns] → [columns, rows] */
function turned(data: ArrayLike<number>, columns: number): Float64Array {
  const rows = data.length / columns;
  return Float64Array.from(
    { length: data.length },
    (_, i) => data[(i % rows) * columns + Math.floor(i / rows)],
  );
}

/** A kept matrix and its values after storage. */
function weights(device: Gpu, n: number, k: number, format: WeightFormat): [Matrix, ArrayLike<number>] {
  if (format === "q8" || format === "q4") {
    const { matrix, rounded } = keepQuantized(device, normals(n * k, 2), [n, k], format);
    return [matrix, rounded];
  }
  const data = values(n * k, 2);
  const name = format.toUpperCase() as "F32" | "BF16" | "F16";
  return [keepWeights(device, data, [n, k], format), toFloat32(fromFloat32(data, name), name)];
}

async function inputGrad(m: number, n: number, k: number, format: WeightFormat): Promise<void> {
  const [w, rounded] = weights(gpu(), n, k, format);
  const dy = values(m * n, 1);
  const got = await runOp(gpu(), () => inputGradByTranspose(gpu(), gpu().upload(dy, [m, n]), w)!);
  freeMatrix(gpu(), w);
  expectClose(got, linearRef(dy, turned(rounded, k), n), bound);
}

test.each([
  ["f32", 8, 4],
  ["f32", 13, 12],
  ["f32", 257, 68],
  ["bf16", 1, 4],
  ["bf16", 15, 140],
  ["bf16", 16, 36],
  ["f16", 9, 32],
  ["f16", 31, 132],
  ["q8", 10, 96],
  ["q4", 12, 512],
] as const)("%s [%i, %i] transposed", async (format, n, k) => {
  const [w, rounded] = weights(gpu(), n, k, format);
  const [bytes] = await gpu().step(() => [transposed(gpu(), w)!.pieces[0].tensor]);
  freeMatrix(gpu(), w);
  const half = format === "bf16" ? "BF16" : "F16";
  const isHalf = format === "bf16" || format === "f16";
  const got = isHalf
    ? toFloat32(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), half)
    : bytes;
  const width = Math.ceil(n / 8) * 8;
  const want = Float32Array.from({ length: k * width }, (_, i) => {
    const [c, r] = [Math.floor(i / width), i % width];
    return r < n ? rounded[r * k + c] : 0;
  });
  if (format === "q4")
    expectClose(got, want, 1e-6); // the driver may merge its product and difference
  else expect([...got]).toEqual([...want]);
});

test.each([1, 2, 9, 16, 17, 33])("input, %i rows", (m) => inputGrad(m, 40, 140, "f32"));

test.each([8, 248, 256, 264, 3072])("input, %i columns of dy", (n) => inputGrad(5, n, 36, "bf16"));

test.each([
  ["f32", 32],
  ["bf16", 560],
  ["f16", 1024],
  ["q8", 96],
  ["q4", 768],
] as const)("input, %s, width %i", (format, k) => inputGrad(19, 48, k, format));

test("input: a row has the same bits alone and among others", async () => {
  const [n, k] = [264, 36];
  const w = keepWeights(gpu(), values(n * k, 2), [n, k], "bf16");
  const dy = values(33 * n, 1);
  const of = (rows: Float32Array, m: number): Promise<Float32Array> =>
    runOp(gpu(), () => linearInputGrad(gpu(), gpu().upload(rows, [m, n]), w));
  const all = await of(dy, 33);
  for (const m of [1, 3, 7, 20]) expect(await of(dy.slice(0, m * n), m)).toEqual(all.slice(0, m * k));
  freeMatrix(gpu(), w);
});

test.each([
  [1, 64, 64],
  [7, 68, 64],
  [40, 64, 140],
  [257, 72, 560],
  [300, 132, 64],
])("weight, %i rows, %i x %i", async (m, n, k) => {
  const [dy, x] = [values(m * n, 1), values(m * k, 2)];
  const got = await runOp(gpu(), () =>
    weightGradByTranspose(gpu(), gpu().upload(dy, [m, n]), gpu().upload(x, [m, k]))!,
  );
  expectClose(got, linearRef(turned(dy, n), turned(x, k), m), bound);
});

test("a missing number reaches its row of dx and its row of dW, and no other", async () => {
  const [m, n] = [3, 64];
  const dy = values(m * n, 1);
  dy[n + 5] = NaN; // [1, 5]
  const w = keepWeights(gpu(), values(n * n, 2), [n, n], "f32");
  const dx = await runOp(gpu(), () => inputGradByTranspose(gpu(), gpu().upload(dy, [m, n]), w)!);
  freeMatrix(gpu(), w);
  expect([...dx].map(Number.isNaN)).toEqual(Array.from({ length: m * n }, (_, i) => Math.floor(i / n) === 1));
  const x = values(m * n, 3);
  const dw = await runOp(gpu(), () =>
    weightGradByTranspose(gpu(), gpu().upload(dy, [m, n]), gpu().upload(x, [m, n]))!,
  );
  expect([...dw].map(Number.isNaN)).toEqual(Array.from({ length: n * n }, (_, i) => Math.floor(i / n) === 5));
});

test("what cannot be transposed goes another way to the same gradient", async () => {
  const small = (await openDevice()).gpu;
  lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
  for (const [n, format] of [
    [37, "bf16"], // no whole blocks
    [72, "bf16"], // two pieces
    [16, "q8"], // one piece, of 4 times the size in f32
  ] as const) {
    const [w, rounded] = weights(small, n, 128, format);
    const dy = values(3 * n, 1);
    const got = await runOp(small, () => {
      const rows = small.upload(dy, [3, n]);
      expect(inputGradByTranspose(small, rows, w)).toBeUndefined();
      return linearInputGrad(small, rows, w);
    });
    freeMatrix(small, w);
    expectClose(got, linearRef(dy, turned(rounded, 128), n), bound);
  }
  small.destroy();
  const plain = (await openDevice({ subgroups: false })).gpu;
  await plain.step(() => {
    const x = plain.upload(values(64 * 64, 1), [64, 64]);
    expect(weightGradByTranspose(plain, x, x)).toBeUndefined();
    return [];
  });
  plain.destroy();
});

test.each([
  [8, 64],
  [64, 8],
  [66, 64],
])("weight, %i x %i goes another way", async (n, k) => {
  const [dy, x] = [values(5 * n, 1), values(5 * k, 2)];
  const got = await runOp(gpu(), () => {
    const [left, right] = [gpu().upload(dy, [5, n]), gpu().upload(x, [5, k])];
    expect(weightGradByTranspose(gpu(), left, right)).toBeUndefined();
    return linearWeightGrad(gpu(), left, right);
  });
  expectClose(got, linearRef(turned(dy, n), turned(x, k), 5), bound);
});
