import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { loadKernel } from "../../gpu/kernel.js";
import type { Tiles } from "../../gpu/segments.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { attentionBackward } from "./attention-backward.js";

const tiled = loadKernel("attention/attention");
const perRow = loadKernel("attention/attention-row");
const sliceWidth = 128; // columns of a head that a workgroup of attention.wgsl makes
const maxHeadDim = 512;

export interface AttentionOptions {
  readonly heads: number;
  /** Key and value heads; heads / kvHeads query heads share one. Default: heads. */
  readonly kvHeads?: number;
  /** [rows, 2] u32, for each query row the first key row that it sees and one past the last */
  readonly ranges: Tensor;
  /** Query rows that run together; rows of one tile have ranges with the same first key row. */
  readonly tiles: Tiles;
}

/**
 * softmax(q · kᵀ / √headDim) · v per head, each query row over its own range of key rows: a whole clip (bidirectional)
 * or everything up to itself (causal, also over a KV cache).
 * @param q  [rows, heads · headDim] f32, headDim a multiple of 4 up to 512
 * @param k  [key rows, kvHeads · headDim] f32
 * @param v  [key rows, kvHeads · headDim] f32
 * @returns  [rows, heads · headDim] f32
 * @source torch.nn.functional.scaled_dot_product_attention
 */
export function attention(gpu: Gpu, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, kvHeads = heads, ranges, tiles } = options;
  const [rows, width] = expectMatrix("attention", { q });
  const [keyRows] = expectMatrix("attention", { k });
  const headDim = width / heads;
  if (!Number.isInteger(headDim) || headDim % 4 !== 0 || headDim > maxHeadDim) {
    throw new ShapeError(
      `attention: head_dim must be a multiple of 4 up to ${maxHeadDim}, got ${width} / ${heads} heads`,
    );
  }
  if (heads % kvHeads !== 0) {
    throw new ShapeError(`attention: kvHeads must divide ${heads} heads, got ${kvHeads}`);
  }
  expectShape("attention", { k, v }, [keyRows, kvHeads * headDim]);
  expectShape("attention", { ranges }, [rows, 2]);
  expectDType("attention", { q, k, v }, "f32");
  expectDType("attention", { ranges, tiles: tiles.table }, "u32");
  const y = gpu.empty(q.shape);
  const count = tiles.table.shape[0];
  const single = tiles.rows === 1;
  const slices = single ? 1 : Math.ceil(headDim / sliceWidth);
  gpu.run(single ? perRow : tiled, {
    params: {
      heads,
      group: heads / kvHeads,
      head4: headDim / 4,
      tiles: count,
      slices,
      scale: headDim ** -0.5,
    },
    tensors: { q, k, v, ranges, tiles: tiles.table, y },
    groups: count * heads * slices,
  });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [q, k, v],
    saved: [q, k, v, y, ranges, tiles.table],
    backward: (dy) => {
      const { dq, dk, dv } = attentionBackward(gpu, dy, { q, k, v, out: y }, options);
      tape.add(q, dq);
      tape.add(k, dk);
      tape.add(v, dv);
    },
  });
  return y;
}
