import { TranscriptionEngine } from "../../decode/engine/engine.js";
import { loadTranscriber } from "../../decode/load.js";
import { VoiceActivityDetector } from "../../decode/vad/detector.js";
import { openDevice } from "../../node/device.js";
import { modelFiles } from "../../node/model-files.js";
import type { Gpu } from "../../gpu/device.js";
import { BusyClock } from "./busy.js";
import type { LoadSettings } from "./messages.js";
import type { Models } from "./transcribe.js";

/** Tokens of a request at most: of a clip of 60 s, its prompt and its answer. */
const LONGEST_REQUEST = 4096;

/** The models on a device, and what the worker gets to know of it. */
export interface LoadedModels extends Models {
  readonly gpu: Gpu;
  readonly device: string;
  readonly warnings: readonly string[];
}

/**
 * Opens the device and loads the models of a plan.
 * @throws as openDevice, loadTranscriber and VoiceActivityDetector.load
 */
export async function loadModels({ model, vad, lora, options }: LoadSettings): Promise<LoadedModels> {
  const { gpu, adapter } = await openDevice({ quiet: true });
  const { weights } = options;
  const transcriber = await loadTranscriber(gpu, model, {
    wordTimes: "optional",
    lora,
    ...(weights && { weights }),
  });
  const detector = await VoiceActivityDetector.load(gpu, modelFiles(vad));
  const engine = new TranscriptionEngine(transcriber, {
    maxTokens: LONGEST_REQUEST,
    maxQueue: Number.MAX_SAFE_INTEGER, // the worker gives as many items as it may
  });
  const device = `${adapter.device} ${adapter.description}`;
  const busy = new BusyClock();
  return { gpu, transcriber, detector, engine, options, busy, device, warnings: transcriber.warnings };
}
