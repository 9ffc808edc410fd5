import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import type { AttentionOptions } from "./attention.js";
import { backwardKernels } from "./variants.js";

const maxHeadDim = 512;

/** What `attention` read and made. */
export interface AttentionSaved {
  /** [rows, heads · headDim] f32 */
  readonly q: Tensor;
  /** [rows, kvHeads · headDim] f32 */
  readonly k: Tensor;
  /** [rows, kvHeads · headDim] f32 */
  readonly v: Tensor;
  /** [rows, heads · headDim] f32, the op's result */
  readonly out: Tensor;
}

export interface AttentionGradients {
  /** [rows, heads · headDim] f32 */
  readonly dq: Tensor;
  /** [rows, kvHeads · headDim] f32 */
  readonly dk: Tensor;
  /** [rows, kvHeads · headDim] f32 */
  readonly dv: Tensor;
}

function check(dy: Tensor, { q, k, v, out }: AttentionSaved, options: AttentionOptions): void {
  const { heads, kvHeads = heads, ranges, tiles } = options;
  const [rows, width] = expectMatrix("attentionBackward", { q });
  const headDim = width / heads;
  if (!Number.isInteger(headDim) || headDim % 4 !== 0 || headDim > maxHeadDim) {
    throw new ShapeError(
      `attentionBackward: head_dim must be a multiple of 4 up to ${maxHeadDim}, got ${width} / ${heads} heads`,
    );
  }
  if (heads % kvHeads !== 0) {
    throw new ShapeError(`attentionBackward: kvHeads must divide ${heads} heads, got ${kvHeads}`);
  }
  expectShape("attentionBackward", { dy, out }, q.shape);
  expectShape("attentionBackward", { k, v }, [rows, kvHeads * headDim]);
  expectShape("attentionBackward", { ranges }, [rows, 2]);
  expectDType("attentionBackward", { dy, q, k, v, out }, "f32");
  expectDType("attentionBackward", { ranges, tiles: tiles.table }, "u32");
}

/**
 * Gradients of `attention` with respect to queries, keys and values, for whole clips or sequences:
 * the key rows are the query rows. Probabilities are formed again from each row's maximum and sum;
 * nothing of rows × rows is stored.
 * @param dy       [rows, heads · headDim] f32
 * @param options  those of the forward op; every row of a clip has a range that begins at the
 *                 clip's first row
 * @throws ShapeError  keys of another number of rows, as over a KV cache
 * @source torch.autograd of torch.nn.functional.scaled_dot_product_attention
 */
export function attentionBackward(
  gpu: Gpu,
  dy: Tensor,
  saved: AttentionSaved,
  options: AttentionOptions,
): AttentionGradients {
  check(dy, saved, options);
  const { q, k, v, out } = saved;
  const { heads, kvHeads = heads, ranges, tiles } = options;
  const [rows, width] = q.shape;
  const head4 = width / heads / 4;
  const count = tiles.table.shape[0];
  const params = { rows, heads, group: heads / kvHeads, head4, tiles: count, scale: (width / heads) ** -0.5 };
  return gpu.scope(() => {
    const stats = gpu.empty([rows, heads + 1, 4]);
    gpu.run(backwardKernels.stats(gpu).kernel, {
      params,
      tensors: { dy, y: out, q, k, ranges, tiles: tiles.table, stats },
      groups: count * heads,
    });
    const dq = gpu.empty(q.shape);
    gpu.run(backwardKernels.query(gpu).kernel, {
      params,
      tensors: { dy, q, k, v, stats, ranges, tiles: tiles.table, dq },
      groups: count * heads,
    });
    const dk = gpu.empty(k.shape);
    const dv = gpu.empty(v.shape);
    gpu.run(backwardKernels.key(gpu).kernel, {
      params,
      tensors: { dy, q, k, v, stats, tiles: tiles.table, dk, dv },
      groups: count * kvHeads,
    });
    return { dq, dk, dv };
  });
}
