import type { Gpu } from "../../gpu/device.js";
import { GpuError } from "../../gpu/errors.js";
import { tuned } from "../../gpu/kernel.js";
import { type CostOf, distinctBytes, tileRows } from "../cost.js";
import { type Variant, defineKernel, kernelPair } from "../variants.js";

/** Columns of a head that a workgroup makes, unless it makes the whole head. */
export const sliceWidth = 128;
/** Of the kernels of one row. */
export const chunkKeys = 128;
/** Key rows of a page. */
export const pageRows = 32;

/**
 * Pairs of a row and a key that it sees, and keys that are seen at all; ranges that start alike lie
 * in one another.
 */
function seenKeys(ranges: Uint32Array | undefined): { pairs: number; keys: number } {
  if (!ranges) throw new GpuError("profile: attention's ranges must be written while timing, got none");
  const ends = new Map<number, number>();
  let pairs = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    pairs += ranges[i + 1] - ranges[i];
    ends.set(ranges[i], Math.max(ranges[i + 1], ends.get(ranges[i]) ?? 0));
  }
  let keys = 0;
  for (const [start, end] of ends) keys += end - start;
  return { pairs, keys };
}

/**
 * `products` dot products or weighted sums, 2 · headDim each, for each head and pair; only the keys
 * that are seen are read.
 */
function pairCost(products: number): CostOf {
  return ({ heads, head4, group }, { tensors }, { ranges }) => {
    const { pairs, keys } = seenKeys(ranges);
    const { k, v, ...rest } = tensors;
    const width = (4 * head4 * heads) / group;
    const read = (k ? 4 * keys * width : 0) + (v ? 4 * keys * width : 0);
    return { flops: products * 2 * pairs * heads * 4 * head4, bytes: distinctBytes(rest) + read };
  };
}

/** Of the parts that a row's chunks of keys leave for attention-join.wgsl. */
function partBytes(ranges: Uint32Array, heads: number, head4: number): number {
  let chunks = 0;
  for (let i = 0; i < ranges.length; i += 2) chunks += Math.ceil((ranges[i + 1] - ranges[i]) / chunkKeys);
  return 16 * chunks * heads * (head4 + 1);
}

const rowCost: CostOf = (params, dispatch, contents) => {
  const cost = { ...pairCost(2)(params, dispatch, contents), kind: "cache" as const };
  if (!dispatch.overrides?.SPLIT) return cost;
  const parts = partBytes(contents.ranges, params.heads, params.head4);
  return { ...cost, bytes: cost.bytes! - dispatch.tensors.y.bytes + parts };
};

const tilesCost: CostOf = (params, dispatch, contents) => {
  const cost = pairCost(2)(params, dispatch, contents);
  const { tiles, q } = dispatch.tensors;
  const tiled = (tiles.shape[0] * tileRows) / q.shape[0];
  return { ...cost, kind: "attention", tiledFlops: tiled * cost.flops! };
};

export const attentionClass = "attention tiles";

/** A pair of kernels for key rows in their order, and one for key rows in pages. */
function pairs(name: string, cost: CostOf): Record<"plain" | "paged", ReturnType<typeof kernelPair>> {
  return {
    plain: kernelPair(name, cost, { PAGE: 0 }),
    paged: kernelPair(name, cost, { PAGE: pageRows }),
  };
}

const tiles = pairs("attention/attention", tilesCost);
const rows = pairs("attention/attention-row", rowCost);

/** Rows in tiles: attention.wgsl, or attention-subgroup.wgsl with subgroups of one size. */
export function tilesKernel(gpu: Gpu, paged: boolean): Variant {
  const constants = tuned(gpu.tuning, attentionClass, { TN: 2 });
  return tiles[paged ? "paged" : "plain"](gpu, { constants });
}

export const attentionRowClass = "attention row";

/**
 * Whether the chunks of a row's keys run beside each other: with fewer workgroups than `groups`, and
 * ranges longer than `keys`.
 */
export function splitsKeys(gpu: Gpu, workgroups: number, longest: number): boolean {
  const { groups, keys } = tuned(gpu.tuning, attentionRowClass, { groups: 64, keys: 512 });
  return workgroups < groups && longest > keys;
}

/**
 * Rows one by one: attention-row.wgsl, or attention-row-subgroup.wgsl with subgroups of one size.
 */
export function rowsKernel(gpu: Gpu, paged: boolean): Variant {
  return rows[paged ? "paged" : "plain"](gpu);
}

/** What attention-row.wgsl made of a range's chunks. */
export const joinKernel = defineKernel(
  "attention/attention-join",
  ({ heads, head4 }, { tensors }, { ranges }) => {
    const bytes = partBytes(ranges, heads, head4);
    return { flops: bytes / 2, bytes: bytes + tensors.y.bytes, kind: "cache" };
  },
);

/** Each row's maximum and sum; gradients of queries; gradients of keys and values. */
export const backwardKernels = {
  stats: kernelPair("attention/attention-backward-stats", pairCost(1)),
  query: kernelPair("attention/attention-backward-query", pairCost(3)),
  key: kernelPair("attention/attention-backward-key", () => ({})), // what a row sees stands in stats, on the device
};
