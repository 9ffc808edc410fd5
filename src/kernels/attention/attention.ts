import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import type { Tiles } from "./segments.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { attentionBackward } from "./attention-backward.js";
import { chunkKeys, joinKernel, rowsKernel, sliceWidth, splitsKeys, tilesKernel } from "./variants.js";

const rowHeads = 2; // query heads of their workgroups
const joinThreads = 32;
const maxHeadDim = 512;

export interface AttentionOptions {
  readonly heads: number;
  /** Key and value heads; heads / kvHeads query heads share one. Default: heads. */
  readonly kvHeads?: number;
  /** [rows, 2] u32, for each query row the first key row that it sees and one past the last */
  readonly ranges: Tensor;
  /** Query rows that run together; rows of one tile have ranges with the same first key row. */
  readonly tiles: Tiles;
  /** Keys that no range passes in this and later calls of the same shape. Default: all key rows. */
  readonly longest?: number;
  /**
   * [pages] u32, where each 32 key rows lie in `k` and `v`, in units of 32 rows: ranges count rows
   * in the order of the pages, and begin at one or lie in one. Default: key rows lie as they count.
   */
  readonly pages?: Tensor | undefined;
}

/**
 * softmax(q · kᵀ / √headDim) · v per head, each query row over its own range of key rows: a whole
 * clip (bidirectional) or everything up to itself (causal, also over a KV cache).
 * @param q  [rows, heads · headDim] f32, headDim a multiple of 4 up to 512
 * @param k  [key rows, kvHeads · headDim] f32
 * @param v  [key rows, kvHeads · headDim] f32
 * @returns  [rows, heads · headDim] f32
 * @source torch.nn.functional.scaled_dot_product_attention
 */
export function attention(gpu: Gpu, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, kvHeads = heads, ranges, tiles, pages } = options;
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
  expectDType("attention", { ranges, tiles: tiles.table, pages }, "u32");
  if (pages) gpu.tape?.refuse("attention over pages", [q, k, v]);
  const sizes = { heads, group: heads / kvHeads, head4: headDim / 4, scale: headDim ** -0.5 };
  const run = tiles.rows === 1 ? attentionRows : attentionTiles;
  const y = run(gpu, pages ? { q, k, v, ranges, pages } : { q, k, v, ranges }, sizes, options);
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

/** Params that the kernels share. */
interface Sizes {
  readonly heads: number;
  readonly group: number;
  readonly head4: number;
  readonly scale: number;
}

interface Inputs extends Readonly<Record<string, Tensor>> {
  readonly q: Tensor;
  readonly k: Tensor;
}

/** Rows that run in tiles. */
function attentionTiles(
  gpu: Gpu,
  inputs: Inputs,
  sizes: Sizes,
  { tiles: { table }, pages }: AttentionOptions,
): Tensor {
  const { heads, head4 } = sizes;
  const y = gpu.empty(inputs.q.shape);
  const count = table.shape[0];
  const tensors = { ...inputs, tiles: table, y };
  const { kernel, lanes } = tilesKernel(gpu, pages !== undefined);
  const slices = lanes === undefined ? Math.ceil((4 * head4) / sliceWidth) : 1;
  gpu.run(kernel, {
    params: { ...sizes, tiles: count, slices, chunks: 1 },
    tensors,
    groups: count * heads * slices,
  });
  return y;
}

/**
 * Rows that run one by one; where they are few and their ranges long, the chunks of a range run
 * beside each other.
 */
function attentionRows(
  gpu: Gpu,
  inputs: Inputs,
  sizes: Sizes,
  { ranges, tiles, pages, longest = inputs.k.shape[0] }: AttentionOptions,
): Tensor {
  const { heads, group, head4 } = sizes;
  const rows = tiles.table.shape[0];
  const slices = Math.ceil((4 * head4) / sliceWidth);
  const groups = rows * (heads / group) * Math.ceil(group / rowHeads) * slices;
  const split = splitsKeys(gpu, groups, longest);
  const chunks = split ? Math.ceil(longest / chunkKeys) : 1;
  const y = gpu.empty(inputs.q.shape);
  const parts = split ? gpu.empty([rows, heads, chunks, 4 * (head4 + 1)]) : y;
  gpu.run(rowsKernel(gpu, pages !== undefined).kernel, {
    params: { ...sizes, tiles: rows, slices, chunks },
    tensors: { ...inputs, tiles: tiles.table, y: parts },
    groups: groups * chunks,
    overrides: { SPLIT: split },
  });
  if (!split) return y;
  gpu.run(joinKernel, {
    params: { rows, heads, head4, chunks },
    tensors: { parts, ranges, y },
    groups: Math.ceil((rows * heads * head4) / joinThreads),
  });
  return y;
}
