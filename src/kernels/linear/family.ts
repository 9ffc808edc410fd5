import type { Gpu } from "../../gpu/device.js";
import { type Kernel, loadKernel } from "../../gpu/kernel.js";

/** A kernel that makes y = x · wᵀ, and the part of y that one workgroup makes. */
export interface LinearKernel {
  readonly kernel: Kernel;
  readonly family: "portable" | "subgroup";
  readonly rows: number;
  readonly columns: number;
}

/** Terms of a block of the subgroup kernels; a row of w must be whole blocks. */
export const subgroupBlock = 8;

/** Rows from which a tile is used, rows of the tile, columns of a lane. All tiles give an element the same bits. */
const subgroupTiles = [
  { least: 9, tm: 16, tn: 2 },
  { least: 5, tm: 8, tn: 2 },
  { least: 2, tm: 4, tn: 2 },
  { least: 1, tm: 1, tn: 1 },
];

const portable = {
  tiled: { kernel: loadKernel("linear/linear"), family: "portable", rows: 4, columns: 128 },
  row: { kernel: loadKernel("linear/linear-row"), family: "portable", rows: 1, columns: 128 },
} as const;

const subgroupKernels = new Map<string, Kernel>();

function subgroupKernel(lanes: number, tm: number, tn: number): Kernel {
  const key = `${lanes} ${tm} ${tn}`;
  let kernel = subgroupKernels.get(key);
  if (!kernel) {
    kernel = loadKernel("linear/linear-subgroup", { SG: lanes, TM: tm, TN: tn });
    subgroupKernels.set(key, kernel);
  }
  return kernel;
}

/**
 * The kernel for a product of so many rows. The family depends on the device and K alone, since the families
 * add in different orders: subgroups where the device has one known size of them and a row of w is whole blocks.
 */
export function linearKernel(gpu: Gpu, rows: number, width: number): LinearKernel {
  const lanes = gpu.subgroupSize;
  if (lanes === undefined || width % subgroupBlock !== 0) {
    return rows < portable.tiled.rows ? portable.row : portable.tiled;
  }
  const { tm, tn } = subgroupTiles.find(({ least }) => rows >= least) ?? subgroupTiles[0];
  return { kernel: subgroupKernel(lanes, tm, tn), family: "subgroup", rows: tm, columns: tn * lanes };
}
