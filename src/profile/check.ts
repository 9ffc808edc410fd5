import { greedy } from "../decode/greedy.js";
import { countedDevice } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { Tensor } from "../gpu/tensor.js";
import { type Clips, type FunAsrNano, adapt, encode } from "../model/fun-asr-nano.js";
import type { Adapter } from "../presets.js";
import { type Ceilings, type Spread, measureCeilings, spread } from "./ceiling.js";
import {
  type ClipSizes,
  type Shares,
  type StageSeconds,
  countClip,
  frameCount,
  predictStages,
  promptLength,
} from "./predict.js";
import { makeProbes } from "./shares.js";

const rounds = 5;
const samples = 3; // of the kernels before each round

/** How far from each other the formula and the clock may be. */
export const tolerance = 0.3;

export interface CheckedStage {
  readonly stage: keyof StageSeconds;
  /** Seconds. */
  readonly predicted: number;
  readonly measured: Spread;
  /** Predicted over the middle of what was measured. */
  readonly ratio: number;
  /** Whether they are within `tolerance` of each other, whichever is larger. */
  readonly within: boolean;
}

/** The adapter as measured. */
export function measuredAdapter(name: string, ceilings: Ceilings): Adapter {
  const { bandwidth, flops, dispatch, readback } = ceilings;
  return {
    name,
    bandwidth: bandwidth.max,
    flops: flops.max,
    dispatch: dispatch.median,
    readback: readback.median,
  };
}

/** Predicted against measured seconds. */
export function compareStages(
  predicted: StageSeconds,
  measured: Readonly<Record<keyof StageSeconds, readonly number[]>>,
): CheckedStage[] {
  return (["audio", "prompt", "token"] as const).map((stage) => {
    const seconds = spread(measured[stage]);
    const ratio = predicted[stage] / seconds.median;
    const within = Math.max(ratio, 1 / ratio) <= 1 + tolerance;
    return { stage, predicted: predicted[stage], measured: seconds, ratio, within };
  });
}

/**
 * Runs a clip of seeded features through the model, as many tokens as are asked for; seconds of the
 * stages, each of some rounds.
 * @param between  called before each round that counts
 */
export async function measureStages(
  gpu: Gpu,
  model: FunAsrNano,
  { seconds, tokens }: ClipSizes,
  between: () => Promise<void> = () => Promise.resolve(),
): Promise<Record<keyof StageSeconds, number[]>> {
  const { inputSize } = model.config.encoder;
  const frames = [frameCount(seconds)];
  const features = Float32Array.from({ length: frames[0] * inputSize }, (_, i) => 3 * Math.sin(i * 12.9898));
  const text = promptLength(seconds) - frames[0];
  const run = async (): Promise<StageSeconds> => {
    const start = performance.now();
    const audio = await encodeClip(gpu, model, { features, frames });
    const encoded = performance.now();
    const audioLength = audio.shape[0];
    const ids = Array.from({ length: text + audioLength }, (_, i) => (7 * i) % 100);
    let first = 0;
    await greedy(gpu, model, [{ ids, audioOffset: text >> 1, audioLength }], audio, {
      stopIds: new Set<number>(),
      maxNewTokens: [tokens],
      guardLoops: false,
      onPrefill: () => (first = performance.now()),
    });
    const end = performance.now();
    gpu.release(audio);
    const token = (end - first) / 1000 / (tokens - 1);
    return { audio: (encoded - start) / 1000, prompt: (first - encoded) / 1000, token };
  };
  await run(); // compiles, fills the pools
  const times: Record<keyof StageSeconds, number[]> = { audio: [], prompt: [], token: [] };
  for (let round = 0; round < rounds; round++) {
    await between();
    const { audio, prompt, token } = await run();
    times.audio.push(audio);
    times.prompt.push(prompt);
    times.token.push(token);
  }
  return times;
}

/** Audio embeddings, held, when the device has made them. */
async function encodeClip(gpu: Gpu, model: FunAsrNano, clips: Clips): Promise<Tensor> {
  let audio: Tensor | undefined;
  await gpu.step(() => {
    audio = gpu.hold(gpu.scope(() => adapt(gpu, model, encode(gpu, model, clips), clips.frames)));
    return [];
  });
  await gpu.finish();
  return audio!;
}

/**
 * The stages of a clip on this device, as the formula has them and as they are. The kernels' own
 * figures are taken between the clip's rounds, and the middle of both counts, so that other work on
 * the machine meets both.
 */
export async function checkStages(
  gpu: Gpu,
  model: FunAsrNano,
  sizes: ClipSizes,
  { name, weights }: { readonly name: string; readonly weights: WeightFormat },
): Promise<{ adapter: Adapter; shares: Shares; stages: CheckedStage[] }> {
  const ceilings = await measureCeilings(gpu);
  const adapter = measuredAdapter(name, ceilings);
  const probes = await makeProbes(gpu, weights);
  try {
    const measured = await measureStages(gpu, model, sizes, async () => {
      for (let i = 0; i < samples; i++) await probes.sample();
    });
    const shares = probes.shares(ceilings, "median");
    const work = await countClip(model.config, weights, sizes, countedDevice(gpu));
    const predicted = predictStages(work, adapter, shares);
    return { adapter, shares, stages: compareStages(predicted, measured) };
  } finally {
    probes.free();
  }
}
