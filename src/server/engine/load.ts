import { loadTranscriber } from "../../decode/load.js";
import { TranscriptionEngine } from "../../decode/engine/engine.js";
import { VoiceActivityDetector } from "../../decode/vad/detector.js";
import { openDevice } from "../../node/device.js";
import { modelFiles } from "../../node/model-files.js";
import type { Loaded } from "./host.js";
import type { EngineSettings } from "./messages.js";

/**
 * Opens the device, loads the models, and runs a short clip, which compiles the kernels.
 * @throws as openDevice, loadTranscriber and VoiceActivityDetector.load
 */
export async function loadModels({ model, vad, lora, weights, rows }: EngineSettings): Promise<Loaded> {
  const { gpu, adapter } = await openDevice({ quiet: true });
  const options = { wordTimes: "optional" as const, ...(lora && { lora }), ...(weights && { weights }) };
  const transcriber = await loadTranscriber(gpu, model, options);
  const detector = await VoiceActivityDetector.load(gpu, modelFiles(vad));
  const engine = new TranscriptionEngine(transcriber, {
    maxTokens: longestRequest,
    maxQueue: Number.MAX_SAFE_INTEGER, // the server admits as many recordings as it may
    ...(rows !== undefined && { maxRows: rows }),
  });
  const second = new Float32Array(transcriber.sampleRate);
  const clip = transcriber.prepare({ channels: [second], sampleRate: second.length }, "warm-up");
  await engine.submit(clip, { maxNewTokens: 2 });
  return {
    gpu,
    transcriber,
    detector,
    engine,
    counts: () => {
      const { queued, reading, rows: decoding, tokens, steps, reads, finished } = engine.stats;
      return { queued, running: reading + decoding, tokens, steps: steps + reads + finished };
    },
    about: {
      device: `${adapter.device} ${adapter.description}`,
      languages: transcriber.languages,
      words: transcriber.aligner !== undefined,
      warnings: transcriber.warnings,
    },
  };
}

/** Tokens of a request at most: of a clip of 60 s, its prompt and its answer. */
const longestRequest = 4096;
