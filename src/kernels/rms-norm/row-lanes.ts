import type { Gpu } from "../../gpu/device.js";
import type { Dispatch, Kernel } from "../../gpu/kernel.js";
import { subgroupKernel } from "../subgroup-kernel.js";

const threads = 32; // of a workgroup: WG of the kernels with LANES
const share = 16; // elements of a row that a thread has at least, unless it has the whole row

/** Workgroups and LANES of a kernel that goes over rows: narrow ones, as heads are, share a workgroup. */
export function rowLanes(rows: number, width: number): Pick<Dispatch, "groups" | "overrides"> {
  const wanted = Math.min(threads, Math.max(1, width / share));
  const lanes = 2 ** Math.floor(Math.log2(wanted));
  return { groups: Math.ceil((rows * lanes) / threads), overrides: { LANES: lanes } };
}

const subgroupLanes = 8; // of a row: LANES of the kernels of the subgroup family, which have fewer where a subgroup has

/** Workgroups of a kernel of the subgroup family that goes over rows of whole vec4. */
export function rowSubgroups(rows: number, lanes: number): number {
  return Math.ceil(rows / Math.max(1, lanes / subgroupLanes));
}

interface RowDispatch extends Pick<Dispatch, "params" | "tensors"> {
  readonly rows: number;
  readonly width: number;
  /** How the portable kernel is dispatched. Default: as `rowLanes` says. */
  readonly portable?: Pick<Dispatch, "groups" | "overrides">;
}

/**
 * Runs a kernel over rows: NAME-subgroup where subgroups have one size and rows are whole vec4, else the portable one.
 * @param options  `params` without rows and width, which either kernel has in its own unit
 */
export function runRows(gpu: Gpu, kernel: Kernel, options: RowDispatch): void {
  const { rows, width, tensors, portable = rowLanes(rows, width) } = options;
  const params = { ...options.params, rows };
  const lanes = gpu.subgroupSize;
  if (lanes === undefined || width % 4 !== 0) {
    gpu.run(kernel, { params: { ...params, width }, tensors, ...portable });
    return;
  }
  const bySubgroup = subgroupKernel(`${kernel.name}-subgroup`, { SG: lanes });
  gpu.run(bySubgroup, {
    params: { ...params, width4: width / 4 },
    tensors,
    groups: rowSubgroups(rows, lanes),
  });
}
