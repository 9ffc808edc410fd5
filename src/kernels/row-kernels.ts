import type { Gpu } from "../gpu/device.js";
import type { Dispatch } from "../gpu/kernel.js";
import type { CostOf } from "./cost.js";
import { kernelPair } from "./variants.js";

const threads = 32; // of a workgroup: WG of the kernels with LANES
const share = 16; // elements of a row that a thread has at least, unless it has the whole row

/**
 * Workgroups and LANES of a kernel that goes over rows: narrow ones, as heads are, share a
 * workgroup.
 */
function rowLanes(rows: number, width: number): Pick<Dispatch, "groups" | "overrides"> {
  const wanted = Math.min(threads, Math.max(1, width / share));
  const lanes = 2 ** Math.floor(Math.log2(wanted));
  return { groups: Math.ceil((rows * lanes) / threads), overrides: { LANES: lanes } };
}

const subgroupLanes = 8; // of a row: LANES of the kernels for subgroups, which have fewer where a subgroup has

/** Workgroups of a kernel for subgroups that goes over rows of whole vec4. */
export function rowSubgroups(rows: number, lanes: number): number {
  return Math.ceil(rows / Math.max(1, lanes / subgroupLanes));
}

export interface RowDispatch extends Pick<Dispatch, "params" | "tensors"> {
  readonly rows: number;
  readonly width: number;
}

/**
 * A kernel that goes over rows, with `rows` and `width` among its Params: NAME-subgroup takes rows
 * of whole vec4.
 * @param whole  whether NAME gives each row a workgroup. Default: as many of its threads as are
 *               busy
 * @returns      runs it
 */
export function rowKernel(
  name: string,
  cost: CostOf,
  { whole = false }: { readonly whole?: boolean } = {},
): (gpu: Gpu, dispatch: RowDispatch) => void {
  const choose = kernelPair(name, cost);
  return (gpu, { rows, width, params, tensors }) => {
    const { kernel, lanes } = choose(gpu, { fits: width % 4 === 0 });
    const portable = whole ? { groups: rows } : rowLanes(rows, width);
    const launch = lanes === undefined ? portable : { groups: rowSubgroups(rows, lanes) };
    gpu.run(kernel, { params: { ...params, rows, width }, tensors, ...launch });
  };
}
