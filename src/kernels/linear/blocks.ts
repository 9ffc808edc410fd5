import type { Gpu } from "../../gpu/device.js";
import { tuned } from "../../gpu/kernel.js";
import type { Matrix, WeightFormat } from "../../gpu/matrix.js";
import { type Variant, sizedKernel } from "../variants.js";
import { productCost } from "./product-cost.js";

/** A kernel that makes y = x · wᵀ, and the part of y that one workgroup makes. */
export interface LinearVariant extends Variant {
  readonly rows: number;
  readonly columns: number;
  /**
   * Workgroups at most for one row, each with as many tiles of columns in turn. Default: each makes
   * one tile.
   */
  readonly workgroups?: number;
}

const kernel = sizedKernel("linear/linear-blocks", productCost);
const groupTerms = 256;
const groupBlocks = 32;
const mostRows = 16;
const mostThreads = 256; // of a workgroup, by WebGPU's default limits

/** UNIT of linear-blocks.wgsl: a thread reads 16 bytes of a row of w, of f32 32. */
const units: Readonly<Record<WeightFormat, number>> = { f32: 1, bf16: 1, f16: 1, q8: 2, q4: 4 };

interface Tile {
  readonly M: number;
  readonly N: number;
  readonly UNIT: number;
  readonly KEPT: number;
}

/** Bytes of workgroup memory of linear-blocks.wgsl. */
function memory({ M, N, UNIT, KEPT }: Tile, G: number): number {
  const [stride, alignment] = [groupBlocks + 1, 128];
  const sums = 4 * G * M * stride * (N + (UNIT === 4 ? 1 : 0));
  const scales = UNIT > 1 ? 16 * 8 * G * N : 0;
  const norm = KEPT > 0 ? 16 * (KEPT + 8) : 0;
  return sums + scales + norm + 4 * (G + 1) * N * M + alignment;
}

/** Groups of 256 terms that run at once; 0 where not even one has room. */
function groupsAtOnce(gpu: Gpu, tile: Tile, width: number): number {
  const groups = Math.ceil(width / groupTerms);
  let most = Math.min(8, groups, (mostThreads * tile.UNIT) / groupBlocks);
  while (most > 0 && memory(tile, most) > gpu.device.limits.maxComputeWorkgroupStorageSize) most--;
  return most && Math.ceil(groups / Math.ceil(groups / most)); // none idles in the last turn
}

/** Whether the device's sizes name this family for a class. */
export function takesBlocks(gpu: Gpu, shapeClass: string): boolean {
  return tuned(gpu.tuning, shapeClass, { N: 0 }).N > 0;
}

/**
 * The kernel for up to 16 rows on GPUs, with the bits of those for subgroups; undefined where the
 * device's sizes do not name it for the class, where its workgroups have no room, or where the
 * device has no subgroups of one size: products of more rows would add in another order there.
 * @param kept  vec4 of a row that is normalised first. Default: 0
 */
export function blocksVariant(
  gpu: Gpu,
  { format, columns: width }: Matrix,
  { rows, shapeClass, kept = 0 }: { rows: number; shapeClass: string; kept?: number },
): LinearVariant | undefined {
  const { N, workgroups } = tuned(gpu.tuning, shapeClass, { N: 0, workgroups: Infinity });
  const lanes = gpu.subgroupSize;
  if (N === 0 || lanes === undefined || rows > mostRows) return undefined;
  const tile = { M: 2 ** Math.ceil(Math.log2(rows)), N, UNIT: units[format], KEPT: kept };
  const G = groupsAtOnce(gpu, tile, width);
  if (G === 0) return undefined;
  return { kernel: kernel({ ...tile, G }), lanes, rows: tile.M, columns: N, workgroups };
}
