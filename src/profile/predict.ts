import { runClips } from "../decode/clip-work.js";
import { type CountedDevice, countingGpu } from "../gpu/counting.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { type TimedDispatch, Timing } from "../gpu/timing.js";
import type { ModelConfig } from "../config/model-config.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import type { Adapter } from "../presets.js";
import { shapeSource } from "../weights/shapes.js";
import { type CallKind, costOf } from "../kernels/cost.js";
import { stageOf } from "./summary.js";

/** Calls of a kind, added up. */
export interface KindWork {
  readonly calls: number;
  /** Rows count up to whole tiles. */
  readonly flops: number;
  readonly bytes: number;
}

/** Work of a stage. */
export type Work = Readonly<Record<CallKind, KindWork>>;

/** Work of the stages of a clip. */
export type ClipWork = Readonly<Record<keyof StageSeconds, Work>>;

/** Shares of an adapter's ceilings that the kernels reach. */
export interface Shares {
  /** Of the bandwidth, by one row against a matrix. */
  readonly bandwidth: number;
  /** Of the arithmetic, by several rows against a matrix. */
  readonly flops: number;
  /** Of the arithmetic, by attention of several rows. */
  readonly attention: number;
  /** Of the bandwidth, by attention of one row. */
  readonly cache: number;
  /** Of the bandwidth, by what goes row by row. */
  readonly elements: number;
  /** Seconds that a call costs at least. Absent: what a dispatch costs. */
  readonly calls?: Readonly<Record<CallKind, number>>;
}

/** The same shares of arithmetic and bandwidth for all kernels. */
export function evenShares(share: { readonly bandwidth: number; readonly flops: number }): Shares {
  const { bandwidth, flops } = share;
  return { bandwidth, flops, attention: flops, cache: bandwidth, elements: bandwidth };
}

const promptTokens = 24; // of text around the audio

/** A GPU that is known by its data sheet: what today's drivers offer. */
export const usualDevice: CountedDevice = {
  limits: {
    maxStorageBufferBindingSize: 2 ** 31 - 4,
    maxBufferSize: 2 ** 31,
    maxComputeWorkgroupStorageSize: 32_768,
  },
  subgroupSize: 32,
};

/** Dispatches by kind. */
function workOf(dispatches: readonly TimedDispatch[]): Work {
  const none = { calls: 0, flops: 0, bytes: 0 };
  const sums = { products: none, row: none, attention: none, cache: none, elements: none };
  for (const { kernel, dispatch, contents } of dispatches) {
    const { kind, tiledFlops = 0, bytes } = costOf(kernel.name, dispatch, contents);
    const sum = sums[kind];
    sums[kind] = { calls: sum.calls + 1, flops: sum.flops + tiledFlops, bytes: sum.bytes + bytes };
  }
  return sums;
}

/** All dispatches. */
export function calls(work: Work): number {
  return Object.values(work).reduce((sum, { calls: some }) => sum + some, 0);
}

/** Seconds: of each kind the slower of arithmetic and memory, and what its calls cost at least. */
export function workSeconds(work: Work, adapter: Adapter, shares: Shares): number {
  const reached: Readonly<Record<CallKind, readonly [flops: number, bandwidth: number]>> = {
    products: [shares.flops, shares.bandwidth],
    row: [shares.flops, shares.bandwidth],
    attention: [shares.attention, shares.cache],
    cache: [shares.attention, shares.cache],
    elements: [Infinity, shares.elements],
  };
  let seconds = 0;
  for (const kind of Object.keys(reached) as CallKind[]) {
    const { calls: count, flops, bytes } = work[kind];
    const [arithmetic, memory] = reached[kind];
    seconds += Math.max(flops / (adapter.flops * arithmetic), bytes / (adapter.bandwidth * memory));
    seconds += count * (shares.calls?.[kind] ?? adapter.dispatch);
  }
  return seconds;
}

export interface Prediction {
  /** Seconds a token, all those before it cached. */
  readonly token: number;
  /** Seconds of a clip. */
  readonly clip: number;
  /** Seconds of computing for a second of audio. */
  readonly rtf: number;
}

/** Seconds of the stages of a clip alone. */
export interface StageSeconds {
  /** Encoder and adaptor. */
  readonly audio: number;
  /** Reading the prompt, and the first token. */
  readonly prompt: number;
  /** Each token after it. */
  readonly token: number;
}

export interface ClipSizes {
  /** Seconds of audio. */
  readonly seconds: number;
  /** Tokens of the answer. */
  readonly tokens: number;
}

/** LFR frames of a clip, one for each 60 ms. */
export function frameCount(seconds: number): number {
  return Math.ceil(seconds / 0.06);
}

/** Tokens of a clip's prompt, one for each frame and the text. */
export function promptLength(seconds: number): number {
  return promptTokens + frameCount(seconds);
}

/**
 * Counts a clip's stages by running them on a device that counts; the token is the one in the
 * middle of the answer.
 */
export async function countClip(
  config: ModelConfig,
  weights: WeightFormat,
  { seconds, tokens }: ClipSizes,
  device: CountedDevice,
): Promise<ClipWork> {
  const gpu = countingGpu(device);
  const unbounded = { ...config, llm: { ...config.llm, maxPositions: Infinity } };
  const model = await loadFunAsrNano(gpu, unbounded, shapeSource(config), { weights });
  const timing = (gpu.timing = new Timing(gpu.device));
  const steps = Math.ceil(tokens / 2);
  await runClips(gpu, model, {
    frames: [frameCount(seconds)],
    text: promptTokens,
    answer: Math.max(tokens, 2),
    steps,
  });
  const { dispatches } = await timing.collect();
  const last = dispatches.at(-1)!.submit;
  const of = (stage: string): TimedDispatch[] => dispatches.filter((dispatch) => stageOf(dispatch) === stage);
  return {
    audio: workOf(of("audio")),
    prompt: workOf(of("prompt")),
    token: workOf(dispatches.filter(({ submit }) => submit === last)),
  };
}

/** The stages of a clip that was counted. */
export function predictStages(work: ClipWork, adapter: Adapter, shares: Shares): StageSeconds {
  const { readback = 0 } = adapter; // of a token it comes while the next is made
  return {
    audio: readback + workSeconds(work.audio, adapter, shares),
    prompt: readback + workSeconds(work.prompt, adapter, shares),
    token: workSeconds(work.token, adapter, shares),
  };
}

/** A clip alone, of these sizes. */
export function predict(work: ClipWork, sizes: ClipSizes, adapter: Adapter, shares: Shares): Prediction {
  const { audio, prompt, token } = predictStages(work, adapter, shares);
  const clip = audio + prompt + (sizes.tokens - 1) * token;
  return { token, clip, rtf: clip / sizes.seconds };
}
