import type { Dispatch } from "../../gpu/options.js";

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
