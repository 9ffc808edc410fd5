import { Option } from "commander";
import { openVad } from "../checkpoint/layouts/vad.js";
import { VoiceActivityDetector } from "../decode/vad/detector.js";
import { FunasrError } from "../errors.js";
import type { Gpu } from "../gpu/device.js";
import { HubUnreachableError } from "../hub/errors.js";
import { vadModel } from "../node/demo.js";
import { modelFiles } from "../node/model-files.js";
import { findModel } from "./model.js";
import { exitCode, report } from "./output.js";

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

interface NamedVad {
  readonly vad?: string | undefined;
  readonly debug?: boolean | undefined;
}

/**
 * The path of the net of --vad, undefined where none was named; false where it cannot be used,
 * which is reported as wrong usage, before anything else is loaded.
 */
export async function findVad({ vad, debug }: NamedVad): Promise<string | undefined | false> {
  return vad === undefined || vad === "off" ? undefined : checkVad(vad, debug);
}

/** As findVad, for a command that needs the net. */
export async function checkVad(vad: string, debug?: boolean): Promise<string | false> {
  try {
    const path = await findModel(vad);
    await openVad(modelFiles(path));
    return path;
  } catch (error) {
    report(error, debug === true);
    if (error instanceof FunasrError && !(error instanceof HubUnreachableError))
      process.exitCode = exitCode.wrongUsage;
    return false;
  }
}
