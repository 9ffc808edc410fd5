import { parseJsonObject } from "../checkpoint/json.js";
import { readFloat32 } from "../checkpoint/safetensors/safetensors.js";
import { generateParameter } from "../checkpoint/weights.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import type { Trainable } from "../gpu/tape.js";
import type { ModelConfig } from "../config/model-config.js";
import { type FunAsrNano, type PromptTokens, loadFunAsrNano } from "../model/fun-asr-nano.js";
import type { ParameterSource, WeightFormat } from "../weights/loader.js";
import { type TrainingBatch, recordGradients } from "../train/forward.js";
import { paddedRank, parseLoraTargets, withLora } from "../train/lora.js";
import { makeOptimiser, update } from "../train/optimiser.js";
import { isTuned, parseTune } from "../train/tune.js";
import { type Bundle, metadata, metadataCount, readIds, readLengths, refuse } from "./bundle.js";

/** Stages by name, as `run.ts` keeps them. */
type Floats = Map<string, { data: TensorData; shape: readonly number[] }>;

/** A number in a JSON object of the metadata. @throws CheckpointError  it is none */
function numberIn(bundle: Bundle, object: Record<string, unknown>, at: string, key: string): number {
  const value = object[key];
  if (typeof value === "number") return value;
  return refuse(bundle.file, `metadata ${at}.${key}`, "a number", JSON.stringify(value) ?? "none");
}

function list(bundle: Bundle, value: unknown, at: string): readonly unknown[] {
  return Array.isArray(value)
    ? value
    : refuse(bundle.file, `metadata ${at}`, "a list", JSON.stringify(value));
}

function object(bundle: Bundle, key: string): Record<string, unknown> {
  return parseJsonObject(metadata(bundle, key), `${bundle.file.source.name}: metadata ${key}`, "content");
}

/** Consecutive parts of a list. */
function cut(ids: readonly number[], lengths: readonly number[]): number[][] {
  let start = 0;
  return lengths.map((length) => ids.slice(start, (start += length)));
}

/** Clips, prompts and answers of a training bundle. */
export async function readBatch(bundle: Bundle, audioTokenId: number): Promise<TrainingBatch> {
  const width = bundle.file.tensors.get("input.features")?.shape[1] ?? 1;
  const features = await readFloat32(bundle.file, "input.features");
  const ids = await readIds(bundle, "input.token_ids");
  const prompts = cut(ids, await readLengths(bundle, "input.token_segments", ids.length));
  const answerIds = await readIds(bundle, "input.answer_ids");
  const answers = cut(answerIds, await readLengths(bundle, "input.answer_segments", answerIds.length));
  return {
    audio: { features },
    frames: await readLengths(bundle, "input.segments", features.length / width),
    prompts: prompts.map((tokens): PromptTokens => {
      const audioLength = tokens.filter((id) => id === audioTokenId).length;
      return { ids: tokens, audioOffset: Math.max(tokens.indexOf(audioTokenId), 0), audioLength };
    }),
    answers,
  };
}

interface TrainRunOptions {
  readonly weights?: WeightFormat | undefined;
  /** Ends the run before its next step, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Loads the model with the bundle's tuned parts trainable. A LoRA's factors have the generator's
 * values.
 */
async function loadTuned(
  gpu: Gpu,
  bundle: Bundle,
  config: ModelConfig,
  parameters: ParameterSource,
  options: TrainRunOptions,
): Promise<FunAsrNano> {
  const tune = list(bundle, JSON.parse(metadata(bundle, "tune")), "tune").join(",");
  const model = await loadFunAsrNano(gpu, config, parameters, { ...options, tune: isTuned(parseTune(tune)) });
  if (!bundle.file.metadata.has("lora")) return model;
  const lora = object(bundle, "lora");
  const rank = numberIn(bundle, lora, "lora", "rank");
  if (rank !== paddedRank(rank)) refuse(bundle.file, "metadata lora.rank", "a multiple of 4", String(rank));
  const alpha = numberIn(bundle, lora, "lora", "alpha");
  const targets = parseLoraTargets(list(bundle, lora.targets, "lora.targets").join(","));
  const adapted = withLora(gpu, model, { rank, alpha, targets });
  const seed = metadataCount(bundle, "generator_seed", 0);
  for (const { name, value } of adapted.trainables.filter((trained) => trained.name.includes(".lora_"))) {
    const bytes = generateParameter(name, value.shape, seed, "f32");
    gpu.write(value, bytes as Uint8Array<ArrayBuffer>);
  }
  return adapted;
}

/**
 * The farthest that a bundle's optimiser steps move a weight by its gradient: learning rate times
 * steps.
 */
export function updateReach(bundle: Bundle): number {
  return numberIn(bundle, object(bundle, "adamw"), "adamw", "lr") * metadataCount(bundle, "steps", 0);
}

/** Mean of the tokens' losses, summed in double precision. */
function mean(losses: TensorData): number {
  let sum = 0;
  for (const loss of losses) sum += loss;
  return sum / losses.length;
}

/**
 * Loss, gradients, and, where the bundle has them, ten optimiser steps with their losses, norms and
 * final weights.
 */
export async function runTrain(
  gpu: Gpu,
  bundle: Bundle,
  config: ModelConfig,
  parameters: ParameterSource,
  floats: Floats,
  options: TrainRunOptions = {},
): Promise<void> {
  const { signal } = options;
  const model = await loadTuned(gpu, bundle, config, parameters, options);
  try {
    const batch = await readBatch(bundle, config.audioTokenId);
    const denominator = batch.answers.flat().length;
    const labelSmoothing = Number(bundle.file.metadata.get("label_smoothing") ?? 0);
    const losses = (): ReturnType<typeof recordGradients> =>
      recordGradients(gpu, model, batch, { denominator, labelSmoothing });
    signal?.throwIfAborted();
    const [first] = await gpu.step(() => [losses()]);
    floats.set("loss", { data: Float32Array.of(mean(first)), shape: [1] });
    await keep(gpu, "grad", model.trainables, "gradient", floats);
    const steps = metadataCount(bundle, "steps", 0);
    if (steps > 0) await runSteps(gpu, bundle, model, { steps, losses, floats, signal });
  } finally {
    model.free();
  }
}

/** Reads the gradient or the value of every trainable as a stage. */
async function keep(
  gpu: Gpu,
  prefix: string,
  trainables: readonly Trainable[],
  part: "gradient" | "value",
  floats: Floats,
): Promise<void> {
  const read = await gpu.step(() => trainables.map((trained) => trained[part]));
  for (const [i, { name, value }] of trainables.entries()) {
    floats.set(`${prefix}.${name}`, { data: read[i], shape: value.shape });
  }
}

interface Steps {
  readonly steps: number;
  readonly losses: () => ReturnType<typeof recordGradients>;
  readonly floats: Floats;
  readonly signal: AbortSignal | undefined;
}

async function runSteps(
  gpu: Gpu,
  bundle: Bundle,
  model: FunAsrNano,
  { steps, losses, floats, signal }: Steps,
): Promise<void> {
  const given = object(bundle, "adamw");
  const number = (key: string): number => numberIn(bundle, given, "adamw", key);
  const [beta1, beta2] = list(bundle, given.betas, "adamw.betas").map(Number);
  const rates = {
    learningRate: number("lr"),
    beta1,
    beta2,
    eps: number("eps"),
    decay: number("weight_decay"),
  };
  const optimiser = makeOptimiser(gpu, model.trainables);
  const means = new Float32Array(steps);
  const norms = new Float32Array(steps);
  try {
    for (let i = 0; i < steps; i++) {
      signal?.throwIfAborted();
      const [made, clip] = await gpu.step(() => {
        for (const { gradient } of model.trainables) gpu.clear(gradient);
        const found = losses();
        return [found, update(gpu, optimiser, number("max_norm"), { ...rates, step: i + 1 }).clip];
      });
      means[i] = mean(made);
      norms[i] = clip[0];
    }
  } finally {
    optimiser.free();
  }
  floats.set("losses", { data: means, shape: [steps] });
  floats.set("norms", { data: norms, shape: [steps] });
  await keep(gpu, "final", model.trainables, "value", floats);
}
