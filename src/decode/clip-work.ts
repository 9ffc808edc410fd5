import { type ModelConfig, type LlmConfig, audioTokens, longestAudio } from "../config/model-config.js";
import { FunasrError } from "../errors.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { type FunAsrNano, adapt, encode, loadFunAsrNano } from "../model/fun-asr-nano.js";
import { embedTokens, loadLanguageModel } from "../model/qwen3.js";
import { elementCount } from "../shape.js";
import type { ParameterSource } from "../weights/loader.js";
import type { MemoryUse } from "../weights/memory.js";
import { greedy, greedyPicker } from "./greedy.js";
import { usualTokens } from "./answer-limit.js";
import { type DecodeOptions, decode, shortAnswer } from "./loop.js";
import { zeros } from "../arrays.js";

/** Sizes of a batch of clips. */
export interface ClipWork {
  /** LFR frames of each clip. */
  readonly frames: readonly number[];
  /** Tokens of a prompt around its audio. */
  readonly text: number;
  /** Tokens of an answer, all of which the KV cache has room for. */
  readonly answer: number;
  /** Decoding steps that are run. Default: 1. */
  readonly steps?: number;
}

/**
 * The work of a Transcriber on clips of these sizes, for a device that counts: encoder, adaptor,
 * prompt, the first decoding steps. Features and tokens are zeros. While timing, the label is
 * "audio", then "prompt"; the step of a token is a Program.
 */
export async function runClips(gpu: Gpu, model: FunAsrNano, work: ClipWork): Promise<void> {
  const { frames, text, answer, steps = 1 } = work;
  const { config } = model;
  const label = (name: string): void => {
    if (gpu.timing) gpu.timing.label = name;
  };
  const hold = async (make: () => Tensor): Promise<Tensor> => {
    let made: Tensor | undefined;
    await gpu.step(() => ((made = gpu.hold(make())), []));
    return made!;
  };
  label("audio");
  const features = new Float32Array(frames.reduce((sum, count) => sum + count * config.encoder.inputSize, 0));
  const states = await hold(() => encode(gpu, model, { features, frames }));
  const audio = await hold(() => adapt(gpu, model, states, frames));
  gpu.release(states);
  label("prompt");
  const prompts = frames.map((count) => {
    const audioLength = audioTokens(config.audioTokenRule, count);
    return { ids: zeros(text + audioLength), audioOffset: text >> 1, audioLength };
  });
  const answers = frames.map(() => answer);
  await firstSteps(steps, answers, (options) => greedy(gpu, model, prompts, audio, options));
  gpu.release(audio);
}

/**
 * Decodes until every sequence has so many tokens; the step behind them runs too.
 * @param answers  tokens of each sequence that the cache has room for
 */
async function firstSteps(
  steps: number,
  answers: readonly number[],
  run: (options: DecodeOptions) => Promise<unknown>,
): Promise<void> {
  const enough = new AbortController();
  let left = steps * answers.length;
  const onToken = (): void => {
    if (--left === 0) enough.abort();
  };
  const { signal } = enough;
  const limits = { stopIds: new Set<number>(), maxNewTokens: answers, usualTokens: answers };
  await run({ ...limits, guardLoops: false, signal, onToken }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

/** Seconds of audio that the working space of a model is counted for. */
const seconds = 30;
const audioFrames = Math.ceil(seconds / 0.06);
const textTokens = 64;

/**
 * Loads a model and works with it. Work that is too large for the device counts up to where it
 * failed.
 */
async function need(gpu: Gpu, load: () => Promise<() => Promise<void>>): ReturnType<MemoryUse["count"]> {
  const before = gpu.bytes.reserved;
  const work = await load();
  const weights = gpu.bytes.kept;
  await work().catch((error: unknown) => {
    if (!(error instanceof FunasrError)) throw error;
  });
  return { weights, working: gpu.bytes.peak - before - weights };
}

/**
 * Twice the weights in f32 and 1 GiB: at full size a clip of 30 s takes a hundredth to a tenth of
 * its weights' bytes.
 */
function ample({ tensors }: ParameterSource): number {
  let bytes = 2 ** 30;
  for (const { shape } of tensors.values()) bytes += 8 * elementCount(shape);
  return bytes;
}

/** Tokens of an answer after a prompt. */
function answerBehind({ maxPositions }: LlmConfig, prompt: number, usual: number): number {
  return Math.max(0, Math.min(usual, maxPositions - prompt));
}

/** A model loaded to transcribe: a clip of 30 s, or as much as fits the model's context. */
export function transcription(config: ModelConfig, source: ParameterSource): MemoryUse {
  const frames = Math.max(1, Math.min(audioFrames, longestAudio(config, 1, textTokens)));
  const prompt = textTokens + audioTokens(config.audioTokenRule, frames);
  const answer = answerBehind(config.llm, prompt, usualTokens({ frames }));
  return {
    count: (gpu, weights) =>
      need(gpu, async () => {
        const model = await loadFunAsrNano(gpu, config, source, { weights });
        return () => runClips(gpu, model, { frames: [frames], text: textTokens, answer });
      }),
    ample: ample(source),
    work: `to work on ${seconds} s of audio`,
  };
}

/** A language model loaded to answer: a prompt as long as one with 30 s of audio. */
export function generation(config: LlmConfig, source: ParameterSource): MemoryUse {
  const prompt = Math.min(audioFrames + textTokens, config.maxPositions);
  const answers = [answerBehind(config, prompt, shortAnswer)];
  return {
    count: (gpu, weights) =>
      need(gpu, async () => {
        const { llm } = await loadLanguageModel(gpu, config, source, { weights });
        const prompts = { lengths: [prompt], embed: () => embedTokens(gpu, llm, zeros(prompt)) };
        return () =>
          firstSteps(1, answers, (options) => decode(gpu, llm, prompts, greedyPicker(gpu), options));
      }),
    ample: ample(source),
    work: `to answer a prompt of ${prompt} tokens`,
  };
}
