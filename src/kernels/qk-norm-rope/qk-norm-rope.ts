import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { rowSubgroups } from "../row-kernels.js";
import { qkNormRopeKernel } from "./variants.js";

export interface QkNormRopeOptions {
  /** [headDim] f32 */
  readonly qNorm: Tensor;
  /** [headDim] f32 */
  readonly kNorm: Tensor;
  readonly eps: number;
  /** [rows, headDim / 2, 2] f32, as `ropeAngles` makes them */
  readonly angles: Tensor;
  /** [rows, 2] u32, row and cache row; callers keep them in range */
  readonly slots: Tensor;
  /** [cache rows, kvHeads · headDim] f32, rows written in place */
  readonly keys: Tensor;
  /** [cache rows, kvHeads · headDim] f32, rows written in place */
  readonly values: Tensor;
}

/**
 * Queries normalised per head and turned; keys the same into their cache rows, values into theirs
 * as they are. The bits of `rmsNorm`, `rope` and `copyRows` one after the other.
 * @param qkv  [rows, (heads + 2 · kvHeads) · headDim] f32: queries, keys, values
 * @returns    [rows, heads · headDim] f32
 * @throws ShapeError  the cache or qkv holds no whole heads
 * @source transformers Qwen3Attention
 */
export function qkNormRope(gpu: Gpu, qkv: Tensor, options: QkNormRopeOptions): Tensor {
  const { qNorm, kNorm, eps, angles, slots, keys, values } = options;
  const [rows, width] = expectMatrix("qkNormRope", { qkv });
  const headDim = elementCount(qNorm.shape);
  const [cacheRows, kvWidth] = expectMatrix("qkNormRope", { keys });
  const heads = (width - 2 * kvWidth) / headDim;
  if (headDim % 2 !== 0 || kvWidth % headDim !== 0 || !Number.isInteger(heads) || heads < 1) {
    throw new ShapeError(
      `qkNormRope: qkv must have whole heads of ${headDim} columns beside twice the cache's ${kvWidth}, got ${width}`,
    );
  }
  expectShape("qkNormRope", { qNorm, kNorm }, [headDim]);
  expectShape("qkNormRope", { angles }, [rows, headDim / 2, 2]);
  expectShape("qkNormRope", { slots }, [rows, 2]);
  expectShape("qkNormRope", { values }, [cacheRows, kvWidth]);
  expectDType("qkNormRope", { qkv, qNorm, kNorm, angles, keys, values }, "f32");
  expectDType("qkNormRope", { slots }, "u32");
  gpu.tape?.refuse("qkNormRope", [qkv, qNorm, kNorm]);
  const kvHeads = kvWidth / headDim;
  const y = gpu.empty([rows, heads * headDim]);
  const tensors = { qkv, q_gamma: qNorm, k_gamma: kNorm, angles, slots, y, keys, values };
  const all = rows * (heads + 2 * kvHeads);
  const { kernel, lanes } = qkNormRopeKernel(gpu, { fits: headDim % 8 === 0 });
  gpu.run(kernel, {
    params: { rows, heads, kv_heads: kvHeads, half: headDim / 2, eps },
    tensors,
    groups: lanes === undefined ? all : rowSubgroups(all, lanes),
  });
  return y;
}
