import { Option } from "commander";
import { VoiceActivityDetector } from "../decode/vad/detector.js";
import type { Gpu } from "../gpu/device.js";
import { vadModel } from "../node/demo.js";
import { modelFiles } from "../node/model-files.js";
import { findModel } from "./model.js";

/** What --vad accepts. */
export const vadForms = "FSMN-VAD directory, GGUF file, or OWNER/NAME[@REVISION] on the hub";

/** The option --vad of commands that need the net. */
export function vadOption(): Option {
  return new Option("--vad <model>", vadForms).default(vadModel, "the one that comes with this package");
}

/** The net of --vad, downloaded where it has to be. */
export async function loadVad(gpu: Gpu, model = vadModel): Promise<VoiceActivityDetector> {
  return VoiceActivityDetector.load(gpu, modelFiles(await findModel(model)));
}
