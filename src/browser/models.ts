import type { ModelFiles } from "../checkpoint/source.js";
import { TranscriptionEngine } from "../decode/engine/engine.js";
import { wholeSeconds } from "../decode/segments/transcribe-recording.js";
import { Transcriber } from "../decode/transcriber.js";
import { VoiceActivityDetector } from "../decode/vad/detector.js";
import type { Gpu } from "../gpu/device.js";
import { type BrowserDevice, openAdapter, requestAdapter } from "./device.js";
import { fit } from "./fit.js";
import type { EngineFacts, ModelFacts, StartOptions, StartProgress } from "./messages.js";
import type { Platform } from "./platform.js";
import { planModels } from "./store/plan.js";

/** A device with what was loaded on it. */
export interface Models extends BrowserDevice {
  /** The checkpoint's name. */
  readonly name: string;
  readonly transcriber: Transcriber | undefined;
  readonly detector: VoiceActivityDetector | undefined;
  /** Runs clips of all calls. */
  readonly engine: TranscriptionEngine | undefined;
}

/** Called as a start goes on, and what ends it. */
export interface StartCall {
  readonly onProgress: (progress: StartProgress) => void;
  readonly signal: AbortSignal;
}

const leastVocabulary = 50_000; // of language models that know more than their transcripts
const longestRequest = 4096; // tokens: of a clip of a minute, its prompt and its answer

/** Opens the device and loads the models. @throws as SpeechWorker.start */
export async function openModels(
  platform: Platform,
  options: StartOptions,
  call: StartCall,
): Promise<Models> {
  const { model, vad, cache = true } = options;
  const { onProgress, signal } = call;
  const adapter = await requestAdapter(platform);
  const [modelPlan, vadPlan] = await planModels([model, vad], platform, cache, signal);
  const kernels = modelPlan ? await fit(adapter, modelPlan.preview, options) : [];
  const device = await openAdapter(adapter, options.subgroups);
  const { gpu } = device;
  try {
    for (const { kernel, overrides } of kernels) gpu.compile(kernel, overrides); // while weights come
    const files = await modelPlan?.download((done, total) =>
      onProgress({ part: "model", stage: "download", done, total }),
    );
    const vadFiles = await vadPlan?.download((done, total) =>
      onProgress({ part: "vad", stage: "download", done, total }),
    );
    const transcriber = files && (await loadModel(gpu, files, options, call));
    const detector = vadFiles && (await VoiceActivityDetector.load(gpu, vadFiles));
    const engine =
      transcriber && new TranscriptionEngine(transcriber, { maxTokens: longestRequest, maxRows: 4 });
    if (engine) await warmUp(engine, call);
    signal.throwIfAborted();
    return { ...device, name: modelPlan?.name ?? "", transcriber, detector, engine };
  } catch (error) {
    gpu.destroy();
    throw error;
  }
}

function loadModel(
  gpu: Gpu,
  files: ModelFiles,
  { weights }: StartOptions,
  { onProgress, signal }: StartCall,
): Promise<Transcriber> {
  return Transcriber.load(gpu, files, {
    ...(weights && { weights }),
    wordTimes: "optional",
    signal,
    onProgress: (done, total) => onProgress({ part: "model", stage: "load", done, total }),
  });
}

/** Runs a second of silence, which compiles the kernels. */
async function warmUp(engine: TranscriptionEngine, { onProgress, signal }: StartCall): Promise<void> {
  onProgress({ part: "model", stage: "compile", done: 0, total: 1 });
  const { transcriber } = engine;
  const second = new Float32Array(transcriber.sampleRate);
  const clip = transcriber.prepare({ channels: [second], sampleRate: second.length }, "warm-up");
  await engine.submit(clip, { maxNewTokens: 2, signal });
  onProgress({ part: "model", stage: "compile", done: 1, total: 1 });
}

/** What a page may offer. */
export function factsOf({ facts, name, transcriber, detector }: Models): EngineFacts {
  return {
    ...facts,
    hasVad: detector !== undefined,
    ...(transcriber && { model: modelFacts(name, transcriber) }),
  };
}

function modelFacts(name: string, transcriber: Transcriber): ModelFacts {
  const { model, languages, aligner, warnings } = transcriber;
  return {
    name,
    languages,
    canTranslate: model.config.llm.vocabSize >= leastVocabulary,
    hasWordTimes: aligner !== undefined,
    wholeSeconds: wholeSeconds(model.config, transcriber.maxSeconds()),
    warnings,
  };
}
