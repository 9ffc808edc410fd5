import type { Gpu } from "../../gpu/device.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import type { Tensor } from "../../gpu/tensor.js";
import { gradVariant } from "./variants.js";

/** A tensor [rows, columns] f32 as a matrix. */
export function matrixOf(tensor: Tensor): Matrix {
  const [rows, columns] = tensor.shape;
  return { rows, columns, format: "f32", pieces: [{ first: 0, rows, tensor }] };
}

/**
 * dx = dy · w; arguments are checked by the caller.
 * @param dy  [M, N] f32
 * @param w   [N, K] in any storage format, in one piece or several; K a multiple of 4
 * @returns   [M, K] f32
 */
export function inputGrad(gpu: Gpu, dy: Tensor, w: Matrix): Tensor {
  const [rows, columns] = dy.shape;
  return multiply(gpu, dy, w, { rows, row_stride: columns, term_stride: 1 });
}

/**
 * dW = dyᵀ · x; arguments are checked by the caller.
 * @param dy  [M, N] f32
 * @param x   [M, K] f32, K a multiple of 4
 * @returns   [N, K] f32
 */
export function weightGrad(gpu: Gpu, dy: Tensor, x: Tensor): Tensor {
  const [, rows] = dy.shape;
  return multiply(gpu, dy, matrixOf(x), { rows, row_stride: 1, term_stride: rows });
}

/**
 * a · w [rows, K]; a's element for a row and a term of w stands at
 * row · row_stride + term · term_stride.
 */
function multiply(
  gpu: Gpu,
  a: Tensor,
  w: Matrix,
  at: Readonly<Record<"rows" | "row_stride" | "term_stride", number>>,
): Tensor {
  const k4 = w.columns / 4;
  const { kernel, groups } = gradVariant(gpu, at.rows, k4);
  const c = gpu.empty([at.rows, w.columns]);
  for (const { first, rows: terms, tensor, scales } of w.pieces) {
    gpu.run(kernel, {
      params: { ...at, k4, terms, first },
      tensors: { a, w: tensor, scales: scales ?? tensor, c },
      groups,
      overrides: { WEIGHT: weightCode(w.format), ACCUMULATE: first > 0 },
    });
  }
  return c;
}
