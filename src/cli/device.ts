import type { Gpu } from "../gpu/device.js";
import { type DeviceOptions, type OpenedDevice, openDevice } from "../node/device.js";
import { note, status } from "./output.js";

interface CommandDevice extends DeviceOptions {
  /** What the note about the device has beside its name. */
  readonly about?: (gpu: Gpu) => string;
}

/** An adapter with its driver, as notes and reports name it. */
export function adapterName({ device, description }: GPUAdapterInfo): string {
  return `${device} ${description}`;
}

/**
 * Runs what a command does on its device, which is opened without Dawn's warnings, named on stderr
 * and destroyed at the end.
 * @throws as openDevice of ../node/device.js
 */
export async function withDevice<T>(
  body: (opened: OpenedDevice) => Promise<T>,
  { about, ...options }: CommandDevice = {},
): Promise<T> {
  const opened = await openDevice({ ...options, quiet: true });
  try {
    note(`device: ${adapterName(opened.adapter)}${about?.(opened.gpu) ?? ""}`);
    return await body(opened);
  } finally {
    status("");
    opened.gpu.destroy();
  }
}
