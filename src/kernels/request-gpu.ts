import { oneLine } from "../errors.js";
import { subgroupFeatures, subgroupSize } from "../gpu/adapter.js";
import { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import { gpuSizes } from "./gpu-sizes.js";

/** How an adapter's device is opened. */
export interface RequestGpuOptions {
  /** Whether kernels use subgroups where their size is known or can be set. Default: true. */
  readonly subgroups?: boolean;
}

/**
 * Opens an adapter's device with all that it offers of buffers and the features and sizes of its
 * fastest kernels; in Node and in browsers.
 * @param adapter  as `await navigator.gpu.requestAdapter()` gives
 * @throws GpuError  the adapter refuses
 */
export async function requestGpu(
  adapter: GPUAdapter,
  { subgroups = true }: RequestGpuOptions = {},
): Promise<Gpu> {
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter
    .requestDevice({
      requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
      requiredFeatures: subgroups ? subgroupFeatures(adapter) : [],
    })
    .catch((cause: unknown) => {
      const reason = oneLine(cause instanceof Error ? cause.message : String(cause));
      const text = `${adapter.info.description}: expected a device with its own limits, got: ${reason}`;
      throw new GpuError(text, { cause });
    });
  const lanes = subgroups ? subgroupSize(adapter) : undefined;
  return new Gpu(device, { subgroupSize: lanes, tuning: gpuSizes(adapter.info) });
}
