import { loadTranscriber } from "../../decode/load.js";
import type { PreparedClip, Transcriber, Transcription } from "../../decode/transcriber.js";
import { VoiceActivityDetector } from "../../decode/vad/detector.js";
import { openDevice } from "../../node/device.js";
import { modelFiles } from "../../node/model-files.js";
import type { Loaded } from "./host.js";
import type { EngineSettings } from "./messages.js";
import type { RunOptions } from "./transcribe.js";

/**
 * Opens the device, loads the models, and runs a short clip, which compiles the kernels.
 * @throws as openDevice, loadTranscriber and VoiceActivityDetector.load
 */
export async function loadModels({ model, vad, lora, weights }: EngineSettings): Promise<Loaded> {
  const { gpu, adapter } = await openDevice({ quiet: true });
  const options = { wordTimes: true, ...(lora && { lora }), ...(weights && { weights }) };
  const transcriber = await loadTranscriber(gpu, model, options);
  const detector = await VoiceActivityDetector.load(gpu, modelFiles(vad));
  const second = new Float32Array(transcriber.sampleRate);
  const clip = transcriber.prepare({ channels: [second], sampleRate: second.length }, "warm-up");
  await transcriber.transcribe([clip], { maxNewTokens: 2 });
  const noWords = (warning: string): boolean => warning.includes("CTC");
  const counts = { running: 0, tokens: 0 };
  return {
    gpu,
    transcriber,
    detector,
    run: async (piece, wish) => {
      counts.running++;
      try {
        const result = await runAlone(transcriber, piece, wish);
        counts.tokens += result.tokenIds.length;
        return result;
      } finally {
        counts.running--;
      }
    },
    counts: () => ({ queued: 0, ...counts }),
    about: {
      device: `${adapter.device} ${adapter.description}`,
      languages: transcriber.languages,
      words: !transcriber.warnings.some(noWords),
      warnings: transcriber.warnings.filter((warning) => !noWords(warning)),
    },
  };
}

async function runAlone(
  transcriber: Transcriber,
  clip: PreparedClip,
  wish: RunOptions,
): Promise<Transcription> {
  const { onText, words, ...options } = wish;
  const [result] = await transcriber.transcribe([clip], {
    ...options,
    onText: onText && ((_clip, text) => onText(text)),
  });
  if (words) return result;
  const { text, tokenIds, audioSeconds, seconds, finish } = result;
  return { text, tokenIds, audioSeconds, seconds, finish };
}
