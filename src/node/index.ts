/** Node: the device that the npm package `webgpu` offers, and files on disk. */
export { type DeviceOptions, type OpenedDevice, openDevice } from "./device.js";
export { demoModel } from "./demo.js";
export { modelDirectory, openFile, writeFileAtomic, writeSafetensorsFile } from "./files.js";
export { restfulWait } from "./wait.js";
