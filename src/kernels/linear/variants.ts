import type { Gpu } from "../../gpu/device.js";
import { tuned } from "../../gpu/kernel.js";
import type { Matrix, WeightFormat } from "../../gpu/matrix.js";
import { type Variant, defineKernel, kernelPair, subgroupKernel } from "../variants.js";
import { type LinearVariant, blocksVariant, takesBlocks } from "./blocks.js";
import { productCost } from "./product-cost.js";
import { fitsWindows } from "./windows.js";

export type { LinearVariant } from "./blocks.js";

/** Terms of a block of the kernels for subgroups; a row of w must be whole blocks. */
export const subgroupBlock = 8;

const portable = {
  one: defineKernel("linear/linear", productCost, { TM: 1 }),
  four: defineKernel("linear/linear", productCost, { TM: 4 }),
};
const tileKernel = subgroupKernel("linear/linear-subgroup", productCost);
const rowKernel = subgroupKernel("linear/linear-row-subgroup", productCost);
const uniformKernel = subgroupKernel("linear/linear-uniform", productCost);

/** Rows of a tile and columns of a lane. All give an element the same bits. */
type Tile = Readonly<Record<"TM" | "TN", number>>;

/**
 * Tiles for 9 rows and more: the fastest on lavapipe among those whose first dispatch compiles in
 * half a second.
 */
const largeTiles: Readonly<Record<WeightFormat, Tile>> = {
  f32: { TM: 16, TN: 3 },
  bf16: { TM: 16, TN: 3 },
  f16: { TM: 16, TN: 3 },
  q8: { TM: 16, TN: 2 },
  q4: { TM: 8, TN: 4 },
};

function usualTile(rows: number, format: WeightFormat): Tile {
  if (rows > 8) return largeTiles[format];
  return rows > 4 ? { TM: 8, TN: 3 } : { TM: 4, TN: 2 };
}

/** Name of the class of a product's rows. */
export function linearClass(format: WeightFormat, rows: number): string {
  return `linear ${format} ${rows > 8 ? "9+" : rows > 4 ? "5-8" : rows > 1 ? "2-4" : "1"}`;
}

/** Name of the class of a product's rows for linear-blocks.wgsl, which shares a weight among 16. */
export function blocksClass(format: WeightFormat, rows: number): string {
  return rows > 8 ? `linear ${format} 9-16` : linearClass(format, rows);
}

/** Name of the class of one row's RMSNorm and product. */
export function normedClass(format: WeightFormat): string {
  return `linear ${format} 1 normed`;
}

/**
 * One row with subgroups. A workgroup of several tiles costs software adapters, whose lanes are
 * few, less than several workgroups.
 */
function rowVariant(gpu: Gpu, shapeClass: string, KEPT: number, few: number): LinearVariant | undefined {
  const found = rowKernel(gpu, { KEPT });
  const usual = { workgroups: found && found.lanes > 8 ? Infinity : few };
  const { workgroups } = tuned(gpu.tuning, shapeClass, usual);
  return found && { ...found, rows: 1, columns: found.lanes, workgroups };
}

/**
 * The kernel for a product of so many rows. Whether it is one for subgroups depends on the device
 * and K alone, since those add in another order: where the device has one known size of subgroups
 * and a row of w is whole blocks.
 */
export function linearVariant(gpu: Gpu, w: Matrix, rows: number): LinearVariant {
  const { format, columns: width } = w;
  const fits = width % subgroupBlock === 0;
  const blocks = fits ? blocksVariant(gpu, w, { rows, shapeClass: blocksClass(format, rows) }) : undefined;
  if (blocks) return blocks;
  if (fits && rows === 1) {
    const found = rowVariant(gpu, linearClass(format, 1), 0, 64);
    if (found) return found;
  } else if (fits) {
    const tile = tuned(gpu.tuning, linearClass(format, rows), usualTile(rows, format));
    const found = tileKernel(gpu, tile);
    if (found) return { ...found, rows: tile.TM, columns: tile.TN * found.lanes };
  }
  return rows < 4
    ? { kernel: portable.one, rows: 1, columns: 128 }
    : { kernel: portable.four, rows: 4, columns: 128 };
}

const uniformTile: Tile = { TM: 16, TN: 4 }; // of linear-uniform.wgsl
const uniformRows = 64; // with fewer, the windows' dispatches cost what they save

/**
 * The kernel that reads weights through uniform windows, with the bits of `linearVariant`'s; for
 * software adapters, whose lanes are few; undefined where the other is to run.
 */
export function uniformVariant(gpu: Gpu, w: Matrix, rows: number): LinearVariant | undefined {
  if (rows < uniformRows || w.columns % subgroupBlock !== 0) return undefined;
  const found = uniformKernel(gpu);
  if (!found || found.lanes > 8) return undefined;
  const columns = uniformTile.TN * found.lanes;
  return fitsWindows(w, columns) ? { ...found, rows: uniformTile.TM, columns } : undefined;
}

/**
 * The kernel for RMSNorm and product of one row in one dispatch; undefined where the two need one
 * each.
 */
export function normedVariant(gpu: Gpu, w: Matrix, rows: number): LinearVariant | undefined {
  const { format, columns: width } = w;
  const kept = 4 * width; // bytes of workgroup memory
  if (rows !== 1 || width % subgroupBlock !== 0) return undefined;
  const shapeClass = normedClass(format);
  if (takesBlocks(gpu, shapeClass)) return blocksVariant(gpu, w, { rows, shapeClass, kept: width / 4 });
  if (kept > gpu.device.limits.maxComputeWorkgroupStorageSize) return undefined;
  return rowVariant(gpu, shapeClass, width / 4, 16); // each workgroup makes the norm anew
}

const gradPair = kernelPair("linear/linear-grad", ({ rows, k4, terms }) => ({
  flops: 2 * rows * 4 * k4 * terms,
}));

/**
 * The kernel for the gradients of `linear`, and workgroups for so many rows and vec4 of columns.
 */
export function gradVariant(gpu: Gpu, rows: number, k4: number): Variant & { readonly groups: number } {
  const found = gradPair(gpu);
  const { kernel, lanes } = found;
  if (lanes === undefined) return { kernel, groups: Math.ceil((Math.ceil(rows / 4) * k4) / 32) };
  return { ...found, groups: Math.ceil(rows / 16) * Math.ceil(k4 / lanes) };
}

/** wᵀ, for gradients that are products. */
export const transposeKernel = defineKernel("linear/linear-transpose", () => ({ flops: 0 }));
