import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount } from "../../gpu/tensor.js";
import { copyRows } from "../copy-rows/copy-rows.js";
import { type Projection, linear, projection } from "../linear/linear.js";
import { rmsNorm } from "../rms-norm/rms-norm.js";
import { rope } from "../rope/rope.js";
import { qkNormRope } from "./qk-norm-rope.js";

/** [rows, kvHeads · headDim] f32 each */
export interface KeysAndValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export interface QkvOptions {
  /** [D] f32, of the RMSNorm of x */
  readonly gamma: Tensor;
  /** [headDim] f32, of the RMSNorm of each query head */
  readonly qNorm: Tensor;
  /** [headDim] f32, of the RMSNorm of each key head */
  readonly kNorm: Tensor;
  readonly eps: number;
  readonly kvHeads: number;
  /** [rows, headDim / 2, 2] f32, as `ropeAngles` makes them */
  readonly angles: Tensor;
  /** [rows, 2] u32, row and cache row; callers keep them in range */
  readonly slots: Tensor;
  /** Rows are written in place. Absent: the step's keys and values stand alone. */
  readonly cache: KeysAndValues | undefined;
}

/**
 * Queries, keys and values of x: RMSNorm, projection, RMSNorm and rotation of the heads, keys and
 * values into the cache. One matrix takes the dispatches of `linear` and `qkNormRope` and has no
 * gradient; three take ops that have one. The same bits.
 * @param x  [rows, D] f32
 * @param w  one matrix [(heads + 2 · kvHeads) · headDim, D], or one each for queries, keys and
 *           values; in any storage format
 * @returns  q [rows, heads · headDim] f32; the cache's keys and values, or those of the rows where
 *           there is no cache
 * @throws ShapeError  as its ops; a gradient is to pass one matrix or the cache
 * @source transformers Qwen3Attention
 */
export function qkvProjection(
  gpu: Gpu,
  x: Tensor,
  w: readonly Projection[],
  { gamma, qNorm, kNorm, eps, kvHeads, angles, slots, cache }: QkvOptions,
): KeysAndValues & { readonly q: Tensor } {
  if (w.length === 1) {
    const shape = [x.shape[0], kvHeads * elementCount(kNorm.shape)];
    const { keys, values } = cache ?? { keys: gpu.empty(shape), values: gpu.empty(shape) };
    const qkv = linear(gpu, x, w[0], { norm: { gamma, eps } });
    return { q: qkNormRope(gpu, qkv, { qNorm, kNorm, eps, angles, slots, keys, values }), keys, values };
  }
  const h = rmsNorm(gpu, x, gamma, eps);
  const [q, k, v] = w.map((part) => projection(gpu, h, part));
  const turn = (part: Tensor, norm: Tensor): Tensor => rope(gpu, rmsNorm(gpu, part, norm, eps), angles);
  const store = (rows: Tensor, into: Tensor | undefined): Tensor => {
    if (!into) return rows;
    gpu.tape?.refuse("KV cache", [rows]);
    copyRows(gpu, rows, slots, into);
    return into;
  };
  return { q: turn(q, qNorm), keys: store(turn(k, kNorm), cache?.keys), values: store(v, cache?.values) };
}
