import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { fromFloat32, toFloat32 } from "../../formats/dtypes.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { Tape } from "../../gpu/tape.js";
import { openDevice } from "../../node/device.js";
import { addInto } from "../add/add-into.js";
import { add } from "../add/add.js";
import { linearInputGrad, linearWeightGrad, recordLinear } from "./linear-backward.js";
import { linear } from "./linear.js";
import { linearBackwardRef, linearRef } from "./linear.ref.js";

// The reference against central differences; both gradients against it: rows, columns and widths
// around the tiles of 4, the blocks of 16 and the groups of 256, every plain storage type, weights
// in pieces, past 65,535 rows; bias and ReLU through the tape; then NaN and the refusals.
const gpu = useGpu();
const bound = 2e-7;

const inputGrad = (device: ReturnType<typeof gpu>, dy: Float32Array, w: Matrix): Promise<Float32Array> =>
  runOp(device, () => linearInputGrad(device, device.upload(dy, [dy.length / w.rows, w.rows]), w));

const weightGrad = (dy: Float32Array, x: Float32Array, rows: number): Promise<Float32Array> =>
  runOp(gpu(), () =>
    linearWeightGrad(
      gpu(),
      gpu().upload(dy, [rows, dy.length / rows]),
      gpu().upload(x, [rows, x.length / rows]),
    ),
  );

test("the reference agrees with central differences", () => {
  const [dy, x, w] = [doubles(3 * 5, 1), doubles(3 * 4, 2), doubles(5 * 4, 3)];
  const { dx, dw } = linearBackwardRef(dy, x, w, 4);
  expectClose(
    dx,
    centralDifferences((at) => dot(dy, linearRef(at, w, 4)), x),
    differenceBound,
  );
  expectClose(
    dw,
    centralDifferences((at) => dot(dy, linearRef(x, at, 4)), w),
    differenceBound,
  );
});

describe("against f64", () => {
  test.each([
    ...[1, 3, 4, 5, 67, 257].map((rows) => [rows, 37, 140]),
    ...[1, 3, 4, 5, 15, 16, 17, 255, 256, 257, 1024].map((columns) => [6, columns, 8]),
    ...[4, 124, 128, 132, 560].map((width) => [5, 9, width]),
    [1031, 13, 12],
  ])("%i rows, %i columns, width %i", async (rows, columns, width) => {
    const [dy, x, weights] = [values(rows * columns, 1), values(rows * width, 2), values(columns * width, 3)];
    const w = keepWeights(gpu(), weights, [columns, width], "f32");
    const { dx, dw } = linearBackwardRef(dy, x, weights, width);
    expectClose(await inputGrad(gpu(), dy, w), dx, bound);
    expectClose(await weightGrad(dy, x, rows), dw, bound);
    freeMatrix(gpu(), w);
  });

  test.each(["bf16", "f16"] as const)("%s weights", async (dtype) => {
    const name = dtype.toUpperCase() as "BF16" | "F16";
    const [dy, weights] = [values(6 * 29, 1), values(29 * 132, 3)];
    const w = keepWeights(gpu(), weights, [29, 132], dtype);
    const rounded = toFloat32(fromFloat32(weights, name), name);
    expectClose(
      await inputGrad(gpu(), dy, w),
      linearBackwardRef(dy, values(6 * 132, 2), rounded, 132).dx,
      bound,
    );
    freeMatrix(gpu(), w);
  });

  test("a weight in pieces", async () => {
    const small = (await openDevice()).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 }); // 7 rows of 140 f32 fit
    try {
      const [dy, weights] = [values(5 * 61, 1), values(61 * 140, 2)];
      const w = keepWeights(small, weights, [61, 140], "f32");
      expect(w.pieces.length).toBeGreaterThan(4);
      const { dx } = linearBackwardRef(dy, values(5 * 140, 3), weights, 140);
      expectClose(await inputGrad(small, dy, w), dx, bound);
    } finally {
      small.destroy();
    }
  });

  test("past 65,535 rows", async () => {
    const rows = 65_539;
    const dy = new Float32Array(rows).map((_, i) => i % 1021);
    const w = keepWeights(gpu(), Float32Array.of(1, 2, 3, 4), [1, 4], "f32");
    const dx = await inputGrad(gpu(), dy, w);
    let wrong = 0;
    for (let i = 0; i < dx.length; i++) if (dx[i] !== dy[i >> 2] * ((i & 3) + 1)) wrong++;
    expect(wrong).toBe(0);
    const dw = await weightGrad(dy, new Float32Array(4 * rows).fill(1), rows);
    const total = dy.reduce((sum, d) => sum + d, 0);
    expectClose(dw, [total, total, total, total], 6e-7); // all of one sign, 257 groups in order
    freeMatrix(gpu(), w);
  });
});

test("weight, bias and input get their gradients through ReLU", async () => {
  const [x, weights, bias, dy] = [values(6 * 8, 1), values(5 * 8, 2), values(5, 3), values(30, 4)];
  const w = keepWeights(gpu(), weights, [5, 8], "f32");
  const trained = [w.pieces[0].tensor, gpu().keep([5], "f32"), gpu().keep([6, 8], "f32")];
  gpu().write(trained[1], bias as Float32Array<ArrayBuffer>);
  gpu().write(trained[2], x as Float32Array<ArrayBuffer>);
  const gradients = trained.map(({ shape }) => gpu().keep(shape, "f32"));
  const [dw, db, dx] = await gpu().step(() => {
    const tape = new Tape(
      gpu(),
      trained.map((value, i) => ({ name: `${i}`, value, gradient: gradients[i] })),
      { add, addInto },
    );
    gpu().tape = tape;
    const y = linear(gpu(), trained[2], w, { bias: trained[1], activation: "relu" });
    gpu().tape = undefined;
    tape.add(y, gpu().upload(dy, [6, 5]));
    tape.backward();
    return gradients;
  });
  const y = linearRef(x, weights, 8, bias, "relu");
  const through = Float64Array.from(dy, (d, i) => (y[i] > 0 ? d : 0));
  const want = linearBackwardRef(through, x, weights, 8);
  expectClose(dw, want.dw, bound);
  expectClose(dx, want.dx, bound);
  expectClose(
    db,
    Array.from({ length: 5 }, (_, n) => through.reduce((sum, d, i) => sum + (i % 5 === n ? d : 0), 0)),
    bound,
  );
  expect(gpu().bytes.live).toBe(0);
  for (const tensor of [...trained, ...gradients]) gpu().free(tensor);
});

test("a NaN spoils its row of dx and its row of dw", async () => {
  const dy = values(3 * 5, 1);
  dy[7] = NaN; // row 1, column 2
  const w = keepWeights(gpu(), values(20, 2), [5, 4], "f32");
  const spoiled = (got: Float32Array): number[] =>
    [...got.keys()].filter((i) => Number.isNaN(got[i])).map((i) => i >> 2);
  expect(new Set(spoiled(await inputGrad(gpu(), dy, w)))).toEqual(new Set([1]));
  expect(new Set(spoiled(await weightGrad(dy, values(12, 3), 3)))).toEqual(new Set([2]));
  freeMatrix(gpu(), w);
});

test.each([
  ["none", 1],
  ["relu", 2], // the sum apart
] as const)("a residual takes the gradient whole, activation %s", async (activation, dispatches) => {
  const [dy, x, weights, residual] = [values(6 * 5, 1), values(6 * 8, 2), values(5 * 8, 3), values(6 * 5, 4)];
  const w = keepWeights(gpu(), weights, [5, 8], "f32");
  const trained = [w.pieces[0].tensor, gpu().keep([6, 5], "f32")];
  gpu().write(trained[1], residual as Float32Array<ArrayBuffer>);
  const gradients = trained.map(({ shape }) => gpu().keep(shape, "f32"));
  const [sum, dw, dr] = await gpu().step(() => {
    const trainables = trained.map((value, i) => ({ name: `${i}`, value, gradient: gradients[i] }));
    const tape = new Tape(gpu(), trainables, { add, addInto });
    gpu().tape = tape;
    const before = gpu().counts.dispatches;
    const y = linear(gpu(), gpu().upload(x, [6, 8]), w, { residual: trained[1], activation });
    expect(gpu().counts.dispatches - before).toBe(dispatches);
    gpu().tape = undefined;
    tape.add(y, gpu().upload(dy, [6, 5]));
    tape.backward();
    return [y, ...gradients];
  });
  const y = linearRef(x, weights, 8, undefined, activation);
  const through = Float64Array.from(dy, (d, i) => (activation === "none" || y[i] > 0 ? d : 0));
  expectClose(
    sum,
    y.map((value, i) => value + residual[i]),
    bound,
  );
  expectClose(dw, linearBackwardRef(through, x, weights, 8).dw, bound);
  expect(dr).toEqual(dy);
  expect(gpu().bytes.live).toBe(0);
  for (const tensor of [trained[1], ...gradients]) gpu().free(tensor);
  freeMatrix(gpu(), w);
});

test("refusals", async () => {
  const w = keepMatrix(gpu(), 5, 8, "f32");
  const odd = keepMatrix(gpu(), 5, 6, "f32");
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const empty = (...shape: number[]): ReturnType<ReturnType<typeof gpu>["empty"]> => gpu().empty(shape);
  await refused(() => linearInputGrad(gpu(), empty(2, 4), w), "linearInputGrad: w must have 4 rows, got 5");
  await refused(
    () => linearInputGrad(gpu(), empty(2, 5), odd),
    "linearInputGrad: w must have a multiple of 4 columns, got 6",
  );
  await refused(
    () => linearWeightGrad(gpu(), empty(2, 5), empty(3, 8)),
    "linearWeightGrad: x must be [2, 8], got [3, 8]",
  );
  await refused(
    () => linearWeightGrad(gpu(), empty(2, 5), empty(2, 6)),
    "linearWeightGrad: x must have a multiple of 4 columns, got 6",
  );
  const value = w.pieces[0].tensor;
  const gradient = gpu().keep([5, 8], "f32");
  gpu().tape = new Tape(gpu(), [{ name: "w", value, gradient }], { add, addInto });
  await refused(() => {
    const [x, residual, y] = [empty(2, 8), empty(2, 5), empty(2, 5)];
    recordLinear(gpu(), { x, w, residual, y, activation: "relu" });
  }, "linear: a residual is recorded apart from the activation relu, got both in one");
  gpu().tape = undefined;
  gpu().free(gradient);
  for (const matrix of [w, odd]) freeMatrix(gpu(), matrix);
});
