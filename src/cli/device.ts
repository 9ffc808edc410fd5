import { type DeviceOptions, type OpenedDevice, openDevice as open } from "../node/device.js";

/** Opens the device of a command, without Dawn's warnings. @throws as openDevice of ../node/device.js */
export function openDevice(options: DeviceOptions = {}): Promise<OpenedDevice> {
  return open({ ...options, quiet: true });
}
