import type { ModelConfig } from "../config/model-config.js";
import { type CountedDevice, countingGpu } from "../gpu/counting.js";
import type { Tensor } from "../gpu/tensor.js";
import { type TimedDispatch, Timing } from "../gpu/timing.js";
import { costOf } from "../kernels/cost.js";
import { adapters, efficiency } from "../presets.js";
import type { ParameterSource } from "../weights/loader.js";
import { shapeSource } from "../weights/shapes.js";
import { type BatchRows, type ClipSize, CountedTraining, type TrainedModel } from "./counted.js";
import { sum } from "../arrays.js";

export interface PlanOptions extends TrainedModel {
  /** Tokens of a micro-batch at most. */
  readonly batchTokens: number;
  /** The device of the training. */
  readonly device: CountedDevice;
  /** Whether an alignment is counted too. Default: false. */
  readonly aligned?: boolean;
}

/** Bytes on the GPU by part. */
export interface TrainingMemory {
  readonly frozenWeights: number;
  /** f32 values, gradients and both moments of what is trained: 16 bytes a parameter. */
  readonly trained: number;
  /** Activations that the backward pass needs. */
  readonly activations: number;
  /** Scores of a chunk of answer tokens. */
  readonly scores: number;
  /** All other buffers of the pools: gradients and temporaries of one layer. */
  readonly working: number;
  /** Transposed weights. */
  readonly transposed: number;
  readonly total: number;
}

/** The assumed hour of audio: clips of 6 s, answers of 4 tokens a second, prompts of 24 tokens. */
export const hourOfAudio = {
  clipSeconds: 6,
  answerRate: 4,
  promptTokens: 24,
  framesPerSecond: 1 / 0.06,
} as const;

/** Work of training on an hour of audio once. */
export interface HourWork {
  /** Multiplications and additions, both counted. */
  readonly flops: number;
  /** The frozen encoder's, which the cache saves from the second epoch on. */
  readonly encoderFlops: number;
  /** Bytes moved by everything but the frozen encoder: each array once a dispatch. */
  readonly bytes: number;
}

/** A training, counted. */
export interface TrainingPlan {
  readonly trainedParameters: number;
  readonly memory: TrainingMemory;
  readonly work: HourWork;
  /** Of an alignment: nothing of the LLM, as many frames a micro-batch as the other has tokens. */
  readonly alignment?: HourWork;
}

const clipFrames = Math.round(hourOfAudio.clipSeconds * hourOfAudio.framesPerSecond);
const clipAnswer = hourOfAudio.clipSeconds * hourOfAudio.answerRate;

/**
 * Clips as in `hourOfAudio` that fill a budget, the last one cut to what is left; one of a single
 * frame at least.
 * @param size  what a clip of so many frames and answer tokens takes of the budget
 */
function fill(budget: number, size: (frames: number, answer: number) => number): ClipSize[] {
  const clips: ClipSize[] = [];
  const { promptTokens: text } = hourOfAudio;
  let left = budget;
  for (let frames = clipFrames; frames > 0;) {
    const answer = Math.max(1, Math.round((clipAnswer * frames) / clipFrames));
    const taken = size(frames, answer);
    if (taken > left) {
      frames--;
      continue;
    }
    clips.push({ frames, text, answer });
    left -= taken;
  }
  return clips.length > 0 ? clips : [{ frames: 1, text, answer: 1 }];
}

/** A micro-batch of this many tokens. */
export function typicalBatch(tokens: number): BatchRows {
  return { clips: fill(tokens, (frames, answer) => hourOfAudio.promptTokens + frames + answer) };
}

/** A micro-batch of an alignment, with this many frames. */
export function alignedBatch(frames: number, { llm }: Pick<ModelConfig, "llm">): BatchRows {
  const clips = fill(frames, (count) => count);
  const words = clips.reduce((sum, { answer }) => sum + answer, 0);
  return { clips, contrasted: Math.min(1 + words, llm.vocabSize) };
}

/**
 * Counts a training by running its steps on a device that counts.
 * @param source  its weights. Default: the config's, in bf16
 */
export async function planTraining(
  config: ModelConfig,
  options: PlanOptions,
  source: ParameterSource = shapeSource(config),
): Promise<TrainingPlan> {
  const training = await CountedTraining.load(countingGpu(options.device), config, source, options);
  const rows = typicalBatch(options.batchTokens);
  const [memory, step] = await countMemory(training, rows);
  const { tune, batchTokens } = options;
  const encoder = (batch: BatchRows): Promise<readonly TimedDispatch[]> =>
    tune.includes("encoder") ? Promise.resolve([]) : timed(training, () => training.encode(batch));
  const counted = {
    trainedParameters: training.parameters,
    memory,
    work: hourWork(rows, step, await encoder(rows)),
  };
  if (!options.aligned) return counted;
  const aligned = alignedBatch(batchTokens, config);
  const alignment = await timed(training, () => training.step(aligned));
  return { ...counted, alignment: hourWork(aligned, alignment, await encoder(aligned)) };
}

/** Dispatches of some work. */
async function timed({ gpu }: CountedTraining, body: () => Promise<void>): Promise<readonly TimedDispatch[]> {
  const timing = (gpu.timing = new Timing(gpu.device));
  await body();
  gpu.timing = undefined;
  return (await timing.collect()).dispatches;
}

/** Memory of a step of this micro-batch by part, and its dispatches. */
export async function countMemory(
  training: CountedTraining,
  rows: BatchRows,
): Promise<[TrainingMemory, readonly TimedDispatch[]]> {
  const { gpu, frozenBytes, trainedBytes } = training;
  gpu.trim();
  const before = gpu.bytes.reserved;
  let activations = 0;
  const dispatches = await timed(training, () =>
    training.step(rows, () => {
      activations = gpu.bytes.live;
      if (gpu.timing) gpu.timing.label = "backward";
    }),
  );
  const pools = gpu.bytes.reserved - before;
  const [transposed, scores] = newBuffers(dispatches);
  const parts = {
    frozenWeights: frozenBytes,
    trained: trainedBytes,
    activations,
    scores,
    working: pools - activations - scores - transposed,
    transposed,
  };
  return [{ ...parts, total: sum(Object.values(parts)) }, dispatches];
}

/**
 * Bytes of the buffers that transposed weights and scores take, without those that held activations
 * before.
 */
function newBuffers(dispatches: readonly TimedDispatch[]): [transposed: number, scores: number] {
  const held = new Set<number>(); // read behind the forward pass before anything there wrote them; or counted
  const written = new Set<number>();
  const take = ({ allocation: { id, bytes } }: Tensor): number => {
    if (held.has(id)) return 0;
    held.add(id);
    return bytes;
  };
  let [transposed, scores] = [0, 0];
  for (const { kernel, dispatch, label } of dispatches) {
    if (label !== "backward") continue;
    const { tensors } = dispatch;
    if (kernel.name === "linear/linear-transpose") transposed += take(tensors.y);
    if (kernel.name === "cross-entropy/cross-entropy") scores += take(tensors.x);
    for (const { name, kind } of kernel.bindings) {
      const { id } = tensors[name].allocation;
      if (kind === "write") written.add(id);
      else if (!written.has(id)) held.add(id);
    }
  }
  return [transposed, scores];
}

/** Work of several dispatches in the order of their run. */
function addCosts(dispatches: readonly TimedDispatch[]): { readonly flops: number; readonly bytes: number } {
  const sum = { flops: 0, bytes: 0 };
  let query = 0; // FLOPs of the latest attention's gradient of its queries
  for (const { kernel, dispatch, contents } of dispatches) {
    const { flops, bytes } = costOf(kernel.name, dispatch, contents);
    if (kernel.name.startsWith("attention/attention-backward-query")) query = flops ?? 0;
    sum.flops += flops ?? (4 / 3) * query; // of keys and values: four products of the same pairs, not three
    sum.bytes += bytes;
  }
  return sum;
}

/** Of steps with this micro-batch, whose frozen encoder runs apart. */
function hourWork(
  { clips }: BatchRows,
  step: readonly TimedDispatch[],
  encoder: readonly TimedDispatch[],
): HourWork {
  const frames = clips.reduce((sum, clip) => sum + clip.frames, 0);
  const steps = (3600 * hourOfAudio.framesPerSecond) / frames;
  const { flops, bytes } = addCosts(step);
  return { flops: steps * flops, bytes: steps * bytes, encoderFlops: steps * addCosts(encoder).flops };
}

/** Rates of a device. */
export interface DeviceSpeed {
  readonly name: string;
  /** FLOPs a second that the kernels reach. */
  readonly flops: number;
  /** Bytes a second. */
  readonly bandwidth: number;
}

export const presets: readonly DeviceSpeed[] = adapters.map(({ name, flops, bandwidth }) => ({
  name,
  flops: flops * efficiency.flops,
  bandwidth: bandwidth * efficiency.bandwidth,
}));

/** Seconds that an hour of audio takes: bound by arithmetic or by memory, whichever is slower. */
export function hourSeconds(work: HourWork, device: DeviceSpeed): { first: number; later: number } {
  const seconds = (flops: number): number => Math.max(flops / device.flops, work.bytes / device.bandwidth);
  return { first: seconds(work.flops + work.encoderFlops), later: seconds(work.flops) };
}
