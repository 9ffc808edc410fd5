import { isSoftware } from "../gpu/adapter.js";
import type { Gpu } from "../gpu/device.js";
import { requestGpu } from "../kernels/request-gpu.js";
import { BrowserError } from "./errors.js";
import type { EngineFacts } from "./messages.js";
import type { Platform } from "./platform.js";

/** An adapter's device. */
export interface BrowserDevice {
  readonly gpu: Gpu;
  readonly facts: Pick<EngineFacts, "adapter" | "backend" | "software" | "subgroups" | "limits">;
}

/** What a user does who has no WebGPU, by the browser's name for itself. */
function advice(userAgent: string): string {
  if (/firefox/i.test(userAgent))
    return "take Firefox 141 or newer on Windows, 145 or newer on macOS, or switch dom.webgpu.enabled on in about:config";
  if (/safari/i.test(userAgent) && !/chrom/i.test(userAgent)) return "take Safari 26 or newer";
  if (/linux/i.test(userAgent) && !/android/i.test(userAgent))
    return "switch on chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan, or take Chrome or Edge on Windows or macOS";
  return "take Chrome or Edge 113 or newer, Chrome 121 on Android, Safari 26, or Firefox 141 on Windows";
}

/**
 * The adapter for inference.
 * @throws BrowserError  "no-webgpu", "no-adapter"
 */
export async function requestAdapter({ gpu, userAgent = "" }: Platform): Promise<GPUAdapter> {
  if (!gpu) {
    const insecure = (globalThis as { readonly isSecureContext?: boolean }).isSecureContext === false;
    const what = insecure
      ? "this page is not served by https or from localhost, so it has"
      : "this browser has";
    throw new BrowserError(
      "no-webgpu",
      `${what} no WebGPU; ${insecure ? "open it by https" : advice(userAgent)}`,
    );
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter) return adapter;
  throw new BrowserError(
    "no-adapter",
    `WebGPU found no graphics adapter; switch hardware acceleration on in the browser's settings, update the graphics driver, or ${advice(userAgent)}`,
  );
}

/**
 * Opens an adapter's device by `requestGpu`.
 * @throws GpuError  the adapter refuses
 */
export async function openAdapter(adapter: GPUAdapter, subgroups = true): Promise<BrowserDevice> {
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const gpu = await requestGpu(adapter, { subgroups });
  const { vendor, architecture, device: name, description } = adapter.info;
  const { backend = "WebGPU" } = adapter.info as { readonly backend?: string };
  return {
    gpu,
    facts: {
      adapter: { vendor, architecture, device: name, description },
      backend,
      software: isSoftware(adapter.info),
      subgroups: gpu.subgroupSize,
      limits: { maxBufferSize, maxStorageBufferBindingSize },
    },
  };
}
