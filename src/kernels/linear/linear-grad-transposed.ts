import type { Gpu } from "../../gpu/device.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import type { Tensor } from "../../gpu/tensor.js";
import { matrixOf } from "./linear-grad.js";
import { product } from "./product.js";
import { subgroupBlock, transposeKernel } from "./variants.js";

const threads = 32;
const least = 64; // columns and width of a weight gradient: below, transposing takes longer than it saves

/**
 * wᵀ, with zeros up to a whole block of terms.
 * @param w  [N, K] in any storage format, in one piece; K a multiple of 4
 * @returns  [K, N rounded up to 8], bf16 or f16 as stored, else f32; undefined where no buffer or
 *           binding holds it
 */
export function transposed(gpu: Gpu, w: Matrix): Matrix | undefined {
  const format = w.format === "bf16" || w.format === "f16" ? w.format : "f32";
  const columns = Math.ceil(w.rows / subgroupBlock) * subgroupBlock;
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const bytes = w.columns * columns * (format === "f32" ? 4 : 2);
  if (w.pieces.length > 1 || bytes > Math.min(maxStorageBufferBindingSize, maxBufferSize)) return undefined;
  const [{ tensor, scales }] = w.pieces;
  const y = gpu.empty([w.columns, columns], format);
  gpu.run(transposeKernel, {
    params: { rows: w.rows, k4: w.columns / 4 },
    tensors: { w: tensor, scales: scales ?? tensor, y },
    groups: Math.ceil(((columns / subgroupBlock) * (w.columns / 4)) / threads),
    overrides: { WEIGHT: weightCode(w.format), WG: threads },
  });
  return { rows: w.columns, columns, format, pieces: [{ first: 0, rows: w.columns, tensor: y }] };
}

/**
 * dx = dy · w + earlier as the product of dy's rows with those of wᵀ; arguments are checked by the
 * caller.
 * @param dy       [M, N] f32
 * @param w        [N, K] in any storage format; K a multiple of 4
 * @param earlier  [M, K] f32
 * @returns        [M, K] f32; undefined where the device has no subgroups of one size, w comes in
 *                 pieces, N is no multiple of 8, or wᵀ fits no binding: whatever M is, so that a
 *                 row's sum order does not depend on how many there are
 */
export function inputGradByTranspose(gpu: Gpu, dy: Tensor, w: Matrix, earlier?: Tensor): Tensor | undefined {
  if (gpu.subgroupSize === undefined || w.rows % subgroupBlock !== 0) return undefined;
  return gpu.scope(() => {
    const columns = transposed(gpu, w);
    return columns && product(gpu, dy, columns, { residual: earlier, activation: "none" });
  });
}

/**
 * dW = dyᵀ · x as the product of dyᵀ's rows with those of xᵀ; arguments are checked by the caller.
 * @param dy  [M, N] f32
 * @param x   [M, K] f32, K a multiple of 4
 * @returns   [N, K] f32; undefined where the device has no subgroups of one size, N or K is below
 *            64 or no multiple of 4, or a transposed array fits no binding
 */
export function weightGradByTranspose(gpu: Gpu, dy: Tensor, x: Tensor): Tensor | undefined {
  const [columns, width] = [dy.shape[1], x.shape[1]];
  if (gpu.subgroupSize === undefined || Math.min(columns, width) < least || columns % 4 !== 0)
    return undefined;
  return gpu.scope(() => {
    const [left, right] = [transposed(gpu, matrixOf(dy)), transposed(gpu, matrixOf(x))];
    return left && right && product(gpu, left.pieces[0].tensor, right, { activation: "none" });
  });
}
