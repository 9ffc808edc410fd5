import type { Gpu } from "../../gpu/device.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import type { Tensor } from "../../gpu/tensor.js";
import { gradKernel } from "./family.js";

/**
 * dx = dy · w where the device has subgroups of one size; arguments are checked by the caller.
 * @param dy  [M, N] f32
 * @param w   [N, K] in any storage format, in one piece or several; K a multiple of 4
 * @returns   [M, K] f32; undefined where the device has no such subgroups
 */
export function inputGradBySubgroup(gpu: Gpu, dy: Tensor, w: Matrix): Tensor | undefined {
  const found = gradKernel(gpu);
  if (!found) return undefined;
  const [rows, columns] = dy.shape;
  const k4 = w.columns / 4;
  const c = gpu.empty([rows, w.columns]);
  for (const { first, rows: terms, tensor, scales } of w.pieces) {
    gpu.run(found.kernel, {
      params: { rows, k4, terms, first, row_stride: columns, term_stride: 1 },
      tensors: { a: dy, w: tensor, scales: scales ?? tensor, c },
      groups: Math.ceil(rows / found.rows) * Math.ceil(k4 / found.lanes),
      overrides: { WEIGHT: weightCode(w.format), ACCUMULATE: first > 0 },
    });
  }
  return c;
}

/**
 * dW = dyᵀ · x where the device has subgroups of one size; arguments are checked by the caller.
 * @param dy  [M, N] f32
 * @param x   [M, K] f32, K a multiple of 4
 * @returns   [N, K] f32; undefined where the device has no such subgroups
 */
export function weightGradBySubgroup(gpu: Gpu, dy: Tensor, x: Tensor): Tensor | undefined {
  const found = gradKernel(gpu);
  if (!found) return undefined;
  const [terms, columns] = dy.shape;
  const k4 = x.shape[1] / 4;
  const c = gpu.empty([columns, x.shape[1]]);
  gpu.run(found.kernel, {
    params: { rows: columns, k4, terms, first: 0, row_stride: 1, term_stride: columns },
    tensors: { a: dy, w: x, scales: x, c },
    groups: Math.ceil(columns / found.rows) * Math.ceil(k4 / found.lanes),
    overrides: { WEIGHT: weightCode("f32"), ACCUMULATE: false },
  });
  return c;
}
