import { expect, test } from "vitest";
import { expectClose, keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import { fromFloat32, toFloat32 } from "../../formats/dtypes.js";
import type { Gpu } from "../../gpu/device.js";
import { type Matrix, type WeightFormat, freeMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { inputGrad as gradOfInput, weightGrad } from "./linear-grad.js";
import { linearRef } from "./linear.ref.js";

// Both gradients against f64: rows and terms around a tile (16) and a block (a subgroup) and a
// group (256), columns around a subgroup's 4 a lane, every storage format, weights in pieces; a
// missing number.
const gpu = useGpu();
const bound = 4e-7; // as for linear

/** [rows, columns] → [columns, rows] */
function transposed(data: ArrayLike<number>, columns: number): Float64Array {
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

async function inputGrad(device: Gpu, m: number, n: number, k: number, format: WeightFormat): Promise<void> {
  const [w, rounded] = weights(device, n, k, format);
  const dy = values(m * n, 1);
  const got = await runOp(device, () => gradOfInput(device, device.upload(dy, [m, n]), w));
  freeMatrix(device, w);
  expectClose(got, linearRef(dy, transposed(rounded, k), n), bound);
}

test.each([1, 2, 7, 8, 9, 15, 16, 17, 33, 40])("input, %i rows", (m) => inputGrad(gpu(), m, 37, 140, "f32"));

test.each([1, 3, 8, 15, 129, 255, 256, 257, 515, 3072])("input, %i columns of dy", (n) =>
  inputGrad(gpu(), 5, n, 36, "bf16"),
);

test.each([
  ["f32", 4],
  ["f32", 32],
  ["bf16", 28],
  ["bf16", 560],
  ["f16", 36],
  ["f16", 1024],
  ["q8", 32],
  ["q8", 96],
  ["q4", 256],
  ["q4", 768],
] as const)("input, %s, width %i", (format, k) => inputGrad(gpu(), 19, 43, k, format));

test.each<WeightFormat>(["f32", "bf16", "f16", "q8", "q4"])(
  "input, a %s weight in pieces",
  async (format) => {
    const small = (await openDevice()).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
    await inputGrad(small, 3, 61, 256, format);
    small.destroy();
  },
);

test.each([
  [1, 1, 4],
  [1, 17, 36],
  [7, 16, 32],
  [8, 15, 28],
  [40, 33, 140],
  [257, 5, 560],
  [300, 130, 64],
])("weight, %i rows, %i x %i", async (m, n, k) => {
  const [dy, x] = [values(m * n, 1), values(m * k, 2)];
  const got = await runOp(gpu(), () => weightGrad(gpu(), gpu().upload(dy, [m, n]), gpu().upload(x, [m, k])));
  expectClose(got, linearRef(transposed(dy, n), transposed(x, k), m), bound);
});

test("a missing number reaches its row of dx and its row of dW, and no other", async () => {
  const dy = values(2 * 3, 1);
  dy[4] = NaN; // [1, 1]
  const w = keepWeights(gpu(), values(12, 2), [3, 4], "f32");
  const dx = await runOp(gpu(), () => gradOfInput(gpu(), gpu().upload(dy, [2, 3]), w));
  freeMatrix(gpu(), w);
  expect([...dx].map(Number.isNaN)).toEqual([false, false, false, false, true, true, true, true]);
  const x = values(8, 3);
  const dw = await runOp(gpu(), () => weightGrad(gpu(), gpu().upload(dy, [2, 3]), gpu().upload(x, [2, 4])));
  expect([...dw].map(Number.isNaN)).toEqual([0, 1, 2].flatMap((row) => Array<boolean>(4).fill(row === 1)));
});
