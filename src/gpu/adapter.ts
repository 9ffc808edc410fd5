/// <reference types="@webgpu/types" preserve="true" />

/** True for a driver that runs on the CPU. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  return /llvmpipe|lavapipe|swiftshader|basic render/i.test(
    `${info.device} ${info.description} ${info.architecture}`,
  );
}

/**
 * Lanes of every subgroup of this adapter; undefined without subgroups, with several sizes, or
 * outside 4 to 64.
 */
export function subgroupSize({ features, info }: GPUAdapter): number | undefined {
  const { subgroupMinSize: least, subgroupMaxSize: most } = info;
  const known = features.has("subgroups") && most !== undefined && least === most;
  return known && most >= 4 && most <= 64 ? most : undefined;
}
