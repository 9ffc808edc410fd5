import { oneLine } from "../errors.js";
import { subgroupFeatures, subgroupSize } from "../gpu/adapter.js";
import { type CountedDevice, leastLimits } from "../gpu/counting.js";
import { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import { gpuSizes } from "./gpu-sizes.js";

/** How an adapter's device is opened. */
export interface RequestGpuOptions {
  /** Whether kernels use subgroups where their size is known or can be set. Default: true. */
  readonly subgroups?: boolean;
}

/**
 * The device that `requestGpu` opens on an adapter: what its choices of kernels depend on. Limits
 * that are not asked for are those that every device has.
 */
export function expectedDevice(
  adapter: Pick<GPUAdapter, "features" | "info" | "limits">,
  { subgroups = true }: RequestGpuOptions = {},
): CountedDevice {
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  return {
    limits: { ...leastLimits, maxStorageBufferBindingSize, maxBufferSize },
    subgroupSize: subgroups ? subgroupSize(adapter) : undefined,
    tuning: gpuSizes(adapter.info),
  };
}

/**
 * Opens an adapter's device with all that it offers of buffers and the features and sizes of its
 * fastest kernels; in Node and in browsers.
 * @param adapter  as `await navigator.gpu.requestAdapter()` gives
 * @throws GpuError  the adapter refuses
 */
export async function requestGpu(adapter: GPUAdapter, options: RequestGpuOptions = {}): Promise<Gpu> {
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter
    .requestDevice({
      requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
      requiredFeatures: (options.subgroups ?? true) ? subgroupFeatures(adapter) : [],
    })
    .catch((cause: unknown) => {
      const reason = oneLine(cause instanceof Error ? cause.message : String(cause));
      const text = `${adapter.info.description}: expected a device with its own limits, got: ${reason}`;
      throw new GpuError(text, { cause });
    });
  const { subgroupSize: lanes, tuning } = expectedDevice(adapter, options);
  return new Gpu(device, { subgroupSize: lanes, tuning });
}
