import { Gpu } from "./device.js";
import type { Tuning } from "./kernel.js";

/** Limits that the engine's choices depend on. */
export type CountedLimits = Pick<
  GPUSupportedLimits,
  "maxStorageBufferBindingSize" | "maxBufferSize" | "maxComputeWorkgroupStorageSize"
>;

/** Limits that every WebGPU device has. @source WebGPU, "Limits", default values */
export const leastLimits: CountedLimits = {
  maxStorageBufferBindingSize: 128 << 20,
  maxBufferSize: 256 << 20,
  maxComputeWorkgroupStorageSize: 16_384,
};

/** The device that a run is counted for. */
export interface CountedDevice {
  /** Default: those that every device has. */
  readonly limits?: CountedLimits;
  /** Lanes of every subgroup. Absent: kernels do without subgroups. */
  readonly subgroupSize?: number | undefined;
  readonly tuning?: Tuning;
}

/**
 * A device that allocates nothing and runs nothing. Buffers have only a size; a read-back gives
 * zeros. A `Gpu` over it runs the same code, so it makes the dispatches, buffers and submits of a
 * real device with these limits.
 */
class CountingDevice {
  readonly features: ReadonlySet<string> = new Set(["timestamp-query"]);
  readonly lost = new Promise<GPUDeviceLostInfo>(() => undefined);
  readonly queue = {
    writeBuffer: nothing,
    submit: nothing,
    onSubmittedWorkDone: settled,
  };

  /** Bytes of every buffer that was made since they were taken, in order. */
  readonly buffers: number[] = [];

  constructor(readonly limits: CountedLimits) {}

  createBuffer({ size }: GPUBufferDescriptor): unknown {
    this.buffers.push(size);
    return buffer;
  }

  createCommandEncoder(): unknown {
    return encoder;
  }

  pushErrorScope = nothing;
  popErrorScope = (): Promise<null> => Promise.resolve(null);
  createShaderModule = made;
  createBindGroupLayout = made;
  createPipelineLayout = made;
  createComputePipeline = made;
  createBindGroup = made;
  createQuerySet = (): unknown => buffer;
  destroy = nothing;
}

function nothing(): void {
  // that is all that it does
}

function made(): object {
  return {};
}

function settled(): Promise<void> {
  return Promise.resolve();
}

const buffer = {
  mapAsync: settled,
  getMappedRange: (_: number, bytes: number): ArrayBuffer => new ArrayBuffer(bytes),
  unmap: nothing,
  destroy: nothing,
};

const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing };

const encoder = {
  beginComputePass: (): unknown => pass,
  copyBufferToBuffer: nothing,
  clearBuffer: nothing,
  resolveQuerySet: nothing,
  finish: made,
};

/**
 * A `Gpu` that counts: ops, models and training steps run on it as on any other, in milliseconds
 * and without memory. Its `counts` and `bytes` are those of a device of this kind; `Timing` lists
 * its dispatches.
 */
export function countingGpu({ limits = leastLimits, subgroupSize, tuning }: CountedDevice = {}): Gpu {
  const device = new CountingDevice(limits) as unknown as GPUDevice;
  return new Gpu(device, { subgroupSize, tuning });
}

/** What a `Gpu` is to be counted as. */
export function countedDevice({ device: { limits }, subgroupSize, tuning }: Gpu): CountedDevice {
  return { limits, subgroupSize, tuning };
}

/** Whether a `Gpu` only counts: what would be written to its buffers need not be read or made. */
export function isCounting({ device }: Gpu): boolean {
  return device instanceof CountingDevice;
}

/** Bytes of every buffer that a counting `Gpu` has made since the last call, in order. */
export function takeBuffers({ device }: Gpu): readonly number[] {
  return device instanceof CountingDevice ? device.buffers.splice(0) : [];
}
