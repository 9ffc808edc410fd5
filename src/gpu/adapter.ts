/// <reference types="@webgpu/types" preserve="true" />

/** True for a driver that runs on the CPU. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  return /llvmpipe|lavapipe|swiftshader|basic[ -]render/i.test(
    `${info.device} ${info.description} ${info.architecture}`,
  );
}

/** What an adapter offers, or a device has. */
export interface SubgroupFacts {
  readonly features: Pick<ReadonlySet<string>, "has">;
  readonly info: GPUAdapterInfo;
}

const least = 4; // lanes that the kernels for subgroups are made for
const most = 64;

/**
 * Lanes of every subgroup that the kernels are to have; undefined where they must do without.
 * Adapters with several sizes must pin one: AMD 32 of 32 and 64, Intel 16 of 8 to 32, where a lane
 * has twice the registers that it has at 32.
 */
export function subgroupSize({ features, info }: SubgroupFacts): number | undefined {
  if (!features.has("subgroups")) return undefined;
  const { subgroupMinSize: min, subgroupMaxSize: max, vendor } = info;
  if (min === undefined || max === undefined) return undefined;
  if (min !== max && !features.has("subgroup-size-control")) return undefined;
  const wanted = /intel/i.test(vendor) ? 16 : 32;
  const lanes = Math.min(Math.max(wanted, min), max);
  return lanes >= least && lanes <= most ? lanes : undefined;
}

/** Features that a device is asked for so that `subgroupSize` gives what it gives for the adapter. */
export function subgroupFeatures(adapter: SubgroupFacts): GPUFeatureName[] {
  if (subgroupSize(adapter) === undefined) return [];
  const several = adapter.info.subgroupMinSize !== adapter.info.subgroupMaxSize;
  return several ? ["subgroups", "subgroup-size-control"] : ["subgroups"];
}

/**
 * A kernel's text whose subgroups have SG lanes, for devices with `subgroup-size-control`; lines
 * keep their numbers. Kernels without subgroups stay as they are.
 */
export function pinSubgroups(source: string): string {
  if (!/^enable subgroups;/m.test(source)) return source;
  return source
    .replace(/^enable subgroups;/m, "enable subgroups, subgroup_size_control;")
    .replace(/^@compute /m, "@subgroup_size(SG) @compute ");
}
