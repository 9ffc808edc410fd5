import type { Gpu } from "../gpu/device.js";
import { type Kernel, type Sizes, loadKernel } from "../gpu/kernel.js";
import { type CostOf, declareCost } from "./cost.js";

const loaded = new Map<string, Kernel>(); // by file and constants

function load(name: string, constants: Sizes): Kernel {
  const id = name + JSON.stringify(constants);
  let kernel = loaded.get(id);
  if (!kernel) loaded.set(id, (kernel = loadKernel(name, constants)));
  return kernel;
}

/**
 * A kernel file for any device, and what its dispatches cost.
 * @param constants  see `loadKernel`
 */
export function defineKernel(name: string, cost: CostOf, constants: Sizes = {}): Kernel {
  declareCost(name, cost);
  return load(name, constants);
}

/** A kernel file for any device whose constants each call chooses. */
export function sizedKernel(name: string, cost: CostOf): (constants: Sizes) => Kernel {
  declareCost(name, cost);
  return (constants) => load(name, constants);
}

/** One of an op's kernel files, as a device takes it. */
export interface Variant {
  readonly kernel: Kernel;
  /** Of a subgroup. Absent: the file runs on any device. */
  readonly lanes?: number;
}

/**
 * A kernel file for devices whose subgroups have one known size, which is its constant SG. On
 * others it gives undefined.
 */
export function subgroupKernel(
  name: string,
  cost: CostOf,
): (gpu: Gpu, constants?: Sizes) => Required<Variant> | undefined {
  declareCost(name, cost);
  return ({ subgroupSize: lanes }, constants) =>
    lanes === undefined ? undefined : { kernel: load(name, { SG: lanes, ...constants }), lanes };
}

/**
 * NAME-subgroup where the device has subgroups of one known size and the shape `fits` it; else
 * NAME. Both cost the same.
 * @param both  constants of both files
 * @returns     `constants` are those of NAME-subgroup alone
 */
export function kernelPair(
  name: string,
  cost: CostOf,
  both: Sizes = {},
): (gpu: Gpu, options?: { readonly fits?: boolean; readonly constants?: Sizes }) => Variant {
  const portable = { kernel: defineKernel(name, cost, both) };
  const bySubgroup = subgroupKernel(`${name}-subgroup`, cost);
  return (gpu, { fits = true, constants } = {}) =>
    (fits && bySubgroup(gpu, { ...both, ...constants })) || portable;
}
