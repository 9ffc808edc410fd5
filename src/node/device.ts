import { create } from "webgpu";
import { Gpu } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import { restfulWait } from "./wait.js";

export interface DeviceOptions {
  /** Adapter to take, by a part of its name, e.g. "llvmpipe". Default: FUNASR_WEBGPU_ADAPTER, else Dawn's choice. */
  readonly adapter?: string;
  /** Limits below what the adapter offers, to run as on a smaller device; WebGPU's defaults (128 MiB, 256 MiB) are the least. */
  readonly limits?: Partial<Record<"maxStorageBufferBindingSize" | "maxBufferSize", number>>;
}

export interface OpenedDevice {
  readonly gpu: Gpu;
  readonly adapter: GPUAdapterInfo;
  /** True where the adapter is a program on the CPU (lavapipe, SwiftShader). */
  readonly software: boolean;
}

export const noAdapter =
  "no WebGPU adapter found: on Debian or Ubuntu run scripts/software-vulkan.sh, elsewhere install a Vulkan, Metal or D3D12 driver";

let instance: GPU | undefined; // reachable for the process's life: Dawn crashes when it is collected

/** Dawn's entry point, one for the process. */
export function webgpu(adapter = process.env.FUNASR_WEBGPU_ADAPTER): GPU {
  return (instance ??= create(adapter ? [`adapter=${adapter}`] : []));
}

/** True for a driver that runs on the CPU. */
export function isSoftware(info: GPUAdapterInfo): boolean {
  return /llvmpipe|lavapipe|swiftshader|basic render/i.test(
    `${info.device} ${info.description} ${info.architecture}`,
  );
}

/** Opens the default adapter's device. @throws GpuError  no adapter, or it refuses the limits */
export async function openDevice(options: DeviceOptions = {}): Promise<OpenedDevice> {
  let adapter: GPUAdapter | null;
  try {
    adapter = await webgpu(options.adapter).requestAdapter({ powerPreference: "high-performance" });
  } catch (cause) {
    throw new GpuError(noAdapter, { cause });
  }
  if (!adapter) throw new GpuError(noAdapter);
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const requiredLimits = { maxStorageBufferBindingSize, maxBufferSize, ...options.limits };
  const device = await adapter.requestDevice({ requiredLimits });
  const software = isSoftware(adapter.info);
  return { gpu: new Gpu(device, software ? { wait: restfulWait } : {}), adapter: adapter.info, software };
}
