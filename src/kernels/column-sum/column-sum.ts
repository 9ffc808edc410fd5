import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const plain = defineKernel("column-sum/column-sum", perElement(1));
const normed = defineKernel("column-sum/column-sum-normed", perElement(5));
const threads = 64;
/** Rows that a thread of a partial-sums kernel adds in order: BLOCK of those kernels. */
export const sumBlock = 32;

/** One more stage: [rows, width] → [ceil(rows / 32), width]. */
function stage(gpu: Gpu, x: Tensor): Tensor {
  const [rows, width] = x.shape;
  const blocks = Math.ceil(rows / sumBlock);
  const y = gpu.empty([blocks, width]);
  gpu.run(plain, {
    params: { rows, width, blocks },
    tensors: { x, y },
    groups: Math.ceil((blocks * width) / threads),
    overrides: { WG: threads },
  });
  return y;
}

/**
 * Sum of each column, in blocks of 32 rows, those in blocks of 32, and so on: the gradient of a
 * bias. Deterministic.
 * @param x  [rows, width] f32, at least 1 row
 * @returns  [width] f32
 * @source torch.sum(x, dim=0)
 */
export function columnSum(gpu: Gpu, x: Tensor): Tensor {
  const [rows, width] = expectMatrix("columnSum", { x });
  expectDType("columnSum", { x }, "f32");
  if (rows === 0) throw new ShapeError("columnSum: x must have at least 1 row, got 0");
  return gpu.scope(() => {
    let sums = stage(gpu, x);
    while (sums.shape[0] > 1) sums = stage(gpu, sums);
    return { ...sums, shape: [width] };
  });
}

/**
 * Sum over the rows of dy · ((x - mean) - rest) · scale: the gradient of a norm's weight.
 * @param dy     groups · width elements in any shape, f32
 * @param x      the same shape, f32
 * @param stats  [groups, 4] f32, each group's mean, what rounding left of it, 1 / deviation, and 0
 * @returns      [width] f32
 */
export function columnSumNormed(gpu: Gpu, dy: Tensor, x: Tensor, stats: Tensor): Tensor {
  expectShape("columnSumNormed", { x }, dy.shape);
  expectDType("columnSumNormed", { dy, x, stats }, "f32");
  const [rows] = expectMatrix("columnSumNormed", { stats });
  const width = elementCount(x.shape) / rows;
  const blocks = Math.ceil(rows / sumBlock);
  return gpu.scope(() => {
    const y = gpu.empty([blocks, width]);
    gpu.run(normed, {
      params: { rows, width, blocks },
      tensors: { dy, x, stats, y },
      groups: Math.ceil((blocks * width) / threads),
      overrides: { WG: threads },
    });
    return columnSum(gpu, y);
  });
}
