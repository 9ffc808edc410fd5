import type { Gpu } from "../../gpu/device.js";
import { type Kernel, loadKernel, tuned } from "../../gpu/kernel.js";
import type { WeightFormat } from "../../gpu/matrix.js";
import { linearClass, normedClass } from "../shape-classes.js";

/** A kernel that makes y = x · wᵀ, and the part of y that one workgroup makes. */
export interface LinearKernel {
  readonly kernel: Kernel;
  readonly family: "portable" | "subgroup";
  readonly rows: number;
  readonly columns: number;
  /** Workgroups at most for one row, each with as many tiles of columns in turn. Default: each makes one tile. */
  readonly workgroups?: number;
}

/** Terms of a block of the subgroup kernels; a row of w must be whole blocks. */
export const subgroupBlock = 8;

/** Rows of a tile and columns of a lane. All give an element the same bits. */
type Tile = Readonly<Record<"TM" | "TN", number>>;

/** Tiles for 9 rows and more: the fastest on lavapipe among those whose first dispatch compiles in half a second. */
const largeTiles: Readonly<Record<WeightFormat, Tile>> = {
  f32: { TM: 16, TN: 3 },
  bf16: { TM: 16, TN: 3 },
  f16: { TM: 16, TN: 3 },
  q8: { TM: 16, TN: 2 },
  q4: { TM: 8, TN: 4 },
};

function subgroupTile(rows: number, format: WeightFormat): Tile {
  if (rows > 8) return largeTiles[format];
  return rows > 4 ? { TM: 8, TN: 3 } : { TM: 4, TN: 2 };
}

const gradTile = 16; // rows

/** Software adapters have few lanes and few cores: a workgroup of several tiles there costs less than several workgroups. */
function workgroupsOf(lanes: number, few: number): number {
  return lanes > 8 ? Infinity : few;
}

const portable = {
  tiled: { kernel: loadKernel("linear/linear", { TM: 4 }), family: "portable", rows: 4, columns: 128 },
  row: { kernel: loadKernel("linear/linear", { TM: 1 }), family: "portable", rows: 1, columns: 128 },
} as const;

const subgroupKernels = new Map<string, Kernel>();

function subgroupKernel(file: string, constants: Readonly<Record<string, number>>): Kernel {
  const key = file + JSON.stringify(constants);
  let kernel = subgroupKernels.get(key);
  if (!kernel) subgroupKernels.set(key, (kernel = loadKernel(file, constants)));
  return kernel;
}

/**
 * The kernel for a product of so many rows. The family depends on the device and K alone, since the families
 * add in different orders: subgroups where the device has one known size of them and a row of w is whole blocks.
 */
export function linearKernel(gpu: Gpu, format: WeightFormat, rows: number, width: number): LinearKernel {
  const lanes = gpu.subgroupSize;
  if (lanes === undefined || width % subgroupBlock !== 0) {
    return rows < portable.tiled.rows ? portable.row : portable.tiled;
  }
  if (rows === 1) {
    const kernel = subgroupKernel("linear/linear-row-subgroup", { SG: lanes, KEPT: 0 });
    const usual = { workgroups: workgroupsOf(lanes, 64) };
    const launch = tuned(gpu.tuning, linearClass(format, rows), usual);
    return { kernel, family: "subgroup", rows: 1, columns: lanes, ...launch };
  }
  const tile = tuned(gpu.tuning, linearClass(format, rows), subgroupTile(rows, format));
  const kernel = subgroupKernel("linear/linear-subgroup", { SG: lanes, ...tile });
  return { kernel, family: "subgroup", rows: tile.TM, columns: tile.TN * lanes };
}

/** The kernel for RMSNorm and product of one row in one dispatch; undefined where the two need one each. */
export function normedKernel(
  gpu: Gpu,
  format: WeightFormat,
  rows: number,
  width: number,
): LinearKernel | undefined {
  const apart = linearKernel(gpu, format, rows, width);
  const kept = 4 * width; // bytes of workgroup memory
  if (rows !== 1 || apart.family !== "subgroup") return undefined;
  if (kept > gpu.device.limits.maxComputeWorkgroupStorageSize) return undefined;
  const kernel = subgroupKernel("linear/linear-row-subgroup", { SG: apart.columns, KEPT: width / 4 });
  const usual = { workgroups: workgroupsOf(apart.columns, 16) }; // each makes the norm anew
  return { ...apart, kernel, ...tuned(gpu.tuning, normedClass(format), usual) };
}

/** The kernel for the gradients of `linear`; undefined where the device has no subgroups of one known size. */
export function gradKernel(gpu: Gpu): { kernel: Kernel; rows: number; lanes: number } | undefined {
  const lanes = gpu.subgroupSize;
  if (lanes === undefined) return undefined;
  const rows = gradTile;
  return { kernel: subgroupKernel("linear/linear-grad-subgroup", { SG: lanes, TM: rows }), rows, lanes };
}
