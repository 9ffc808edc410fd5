/**
 * Node: the device that the npm package `webgpu` offers, files on disk, models by their names on
 * the hub.
 */
export { type DeviceOptions, type OpenedDevice, openDevice } from "./node/device.js";
export { loadGenerator, loadTranscriber } from "./decode/load.js";
export { demoModel, vadModel } from "./node/demo.js";
export {
  modelDirectory,
  openFile,
  writeDirectoryAtomic,
  writeFileAtomic,
  writeSafetensorsFile,
} from "./node/files.js";
export { restfulWait } from "./node/wait.js";
export { type HubOptions, downloadFiles } from "./hub/download.js";
export { HubError, HubUnreachableError } from "./hub/errors.js";
export { resolveModel } from "./hub/resolve.js";
export { DataError } from "./data/errors.js";
export {
  type BadLine,
  type ReadOptions,
  type Utterance,
  readUtterances,
  utteranceLine,
} from "./data/utterances.js";
