import type { Gpu } from "../gpu/device.js";
import { type DeviceOptions, type OpenedDevice, openDevice } from "../node/device.js";
import { note, status } from "./output.js";

interface CommandDevice extends DeviceOptions {
  /** Text behind the device's name in the note. */
  readonly about?: (gpu: Gpu) => string;
}

/** An adapter with its driver, as notes and reports name it. */
export function adapterName({ device, description }: GPUAdapterInfo): string {
  return `${device} ${description}`;
}

/**
 * Opens the device without Dawn's warnings, names it on stderr, runs `body` and destroys the device.
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
