import { bucketBytes } from "../gpu/arena.js";
import { scoreBudget } from "../kernels/cross-entropy/cross-entropy.js";
import { type ModelConfig, countParameters } from "../config/model-config.js";
import { adapters, efficiency } from "../presets.js";
import { type LoraTarget, loraShape, paddedRank } from "./lora.js";
import { type WeightPlan, frozenBytes, transposedBuffers } from "./plan-weights.js";
import type { TunablePart } from "./tune.js";

/** Rows of one micro-batch. */
export interface BatchRows {
  readonly frames: number;
  /** Prompts, audio and answers. */
  readonly tokens: number;
  readonly answerTokens: number;
  /** Tokens that the frames of an alignment are told apart by: then nothing goes through the LLM. */
  readonly contrasted?: number;
}

export interface PlanOptions extends WeightPlan {
  /** Of a LoRA. Default: 16. */
  readonly rank?: number | undefined;
  /** What it sits on. Default: q_proj, v_proj. */
  readonly targets?: readonly LoraTarget[] | undefined;
  readonly batch: BatchRows;
}

/** Bytes on the GPU by part. */
export interface TrainingMemory {
  readonly frozenWeights: number;
  /** f32 values, gradients and both moments of what is trained: 16 bytes a parameter. */
  readonly trained: number;
  /** What the forward pass leaves for the backward pass. */
  readonly activations: number;
  /** Scores of a chunk of answer tokens. */
  readonly scores: number;
  /** Gradients on their way through one layer. */
  readonly working: number;
  /** Transposed weights. */
  readonly transposed: number;
  readonly total: number;
}

/** Parameters of what is trained. */
export function trainedParameters(
  config: ModelConfig,
  tune: readonly TunablePart[],
  rank?: number,
  targets?: readonly LoraTarget[],
): number {
  const counts = countParameters(config);
  return (
    (tune.includes("adaptor") ? counts.adaptor : 0) +
    (tune.includes("encoder") ? counts.encoder : 0) +
    (tune.includes("lora") ? loraParameters(config, rank, targets) : 0)
  );
}

/** Of each layer's targets: rank · (inputs + outputs). */
function loraParameters(
  { llm: { hiddenSize: d, intermediateSize: f, layers, heads, kvHeads, headDim } }: ModelConfig,
  ofRank?: number,
  ofTargets?: readonly LoraTarget[],
): number {
  const { rank, targets } = loraShape({
    ...(ofRank === undefined ? {} : { rank: ofRank }),
    ...(ofTargets === undefined ? {} : { targets: ofTargets }),
  });
  const [q, kv] = [heads * headDim, kvHeads * headDim];
  const sides = {
    ...{ q_proj: d + q, k_proj: d + kv, v_proj: d + kv, o_proj: q + d },
    ...{ gate_proj: d + f, up_proj: d + f, down_proj: f + d },
  };
  return layers * rank * sum(targets.map((target) => sides[target]));
}

/** Bytes of each tensor [rows, width] f32 in the pool, whose buffers grow by quarters of a power of two. */
function pooled(rows: number, widths: readonly number[]): number[] {
  return widths.map((width) => bucketBytes(4 * rows * width));
}

function repeat<T>(times: number, list: readonly T[]): T[] {
  return Array.from({ length: times }, () => list).flat();
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/**
 * Widths of what a bidirectional block leaves for its backward pass; its linears' inputs only where they are trained.
 * @param input  width of its input: the encoder's stem has another than its output
 */
function blockWidths(input: number, d: number, f: number, trained: boolean): number[] {
  const passed = [input, d, d, d, d, d, f]; // norm's input, q, k, v, attention, second norm's input, ReLU's output
  return trained ? [...passed, input, d] : passed;
}

/** Buffers that a micro-batch takes of the pool, bytes each. */
export interface StepBuffers {
  readonly activations: readonly number[];
  readonly scores: readonly number[];
  readonly working: readonly number[];
  readonly transposed: readonly number[];
}

/** The buffers of a micro-batch, counted from what the ops put on the tape: see docs/numerics.md. */
export function stepBuffers(config: ModelConfig, options: PlanOptions): StepBuffers {
  const { tune, targets, batch } = options;
  const rank = paddedRank(options.rank ?? loraShape().rank);
  const { encoder: e, adaptor: a, llm: m } = config;
  const isTrained = (part: TunablePart): boolean => tune.includes(part);
  const [q, kv] = [m.heads * m.headDim, m.kvHeads * m.headDim];
  const ofEncoder = (input: number): number[] => blockWidths(input, e.hiddenSize, e.intermediateSize, true);
  const encoder = isTrained("encoder")
    ? [
        ...ofEncoder(e.inputSize),
        ...repeat(e.layers + e.tpLayers, ofEncoder(e.hiddenSize)),
        e.hiddenSize,
        e.hiddenSize,
      ]
    : [];
  const adaptor =
    isTrained("adaptor") || isTrained("encoder")
      ? [
          a.projectorHiddenSize,
          ...repeat(
            a.layers,
            blockWidths(a.hiddenSize, a.hiddenSize, a.intermediateSize, isTrained("adaptor")),
          ),
        ]
      : [];
  const input = isTrained("encoder") ? e.inputSize : e.hiddenSize;
  const onTape = pooled(batch.frames, [input, ...encoder, ...adaptor]);
  const transposed = transposedBuffers(config, options, batch.contrasted !== undefined);
  if (batch.contrasted !== undefined) return { ...alignmentBuffers(config, batch, onTape), transposed };
  const attention = [m.hiddenSize, q, q, q, kv, kv, kv];
  const after = [m.hiddenSize, m.intermediateSize, m.intermediateSize]; // in the last layer of answers alone
  const low = isTrained("lora") ? loraWidths(m, rank, targets) : [];
  const chunk = Math.min(batch.answerTokens, Math.max(1, Math.floor(scoreBudget / (4 * m.vocabSize))));
  return {
    activations: [
      ...onTape,
      ...pooled(batch.tokens, repeat(m.layers, [...attention, ...low])),
      ...pooled(batch.tokens, repeat(m.layers - 1, after)),
      ...pooled(batch.answerTokens, [...after, m.hiddenSize]),
    ],
    scores: [...pooled(chunk, [m.vocabSize]), ...pooled(batch.answerTokens, [m.hiddenSize, m.hiddenSize])],
    working: pooled(batch.tokens, [...repeat(3, [m.intermediateSize]), ...repeat(4, [m.hiddenSize])]),
    transposed,
  };
}

/** Inputs that only the LoRA's gradients need (attention's output is kept as it is), and what its first factors make of them. */
function loraWidths(
  { hiddenSize, intermediateSize }: ModelConfig["llm"],
  rank: number,
  targets: readonly LoraTarget[] = loraShape().targets,
): number[] {
  const has = (...names: LoraTarget[]): boolean => names.some((name) => targets.includes(name));
  return [
    ...(has("q_proj", "k_proj", "v_proj") ? [hiddenSize] : []),
    ...(has("gate_proj", "up_proj") ? [hiddenSize] : []),
    ...(has("down_proj") ? [intermediateSize] : []),
    ...targets.map(() => rank),
  ];
}

/** Of an alignment: products and weights of frames and tokens, the tokens' embeddings, and gradients inside the adaptor. */
function alignmentBuffers(
  { adaptor: { hiddenSize, intermediateSize } }: ModelConfig,
  { frames, contrasted = 0 }: BatchRows,
  activations: readonly number[],
): Omit<StepBuffers, "transposed"> {
  return {
    activations,
    scores: [...pooled(frames, [contrasted, contrasted]), ...pooled(contrasted, [hiddenSize])],
    working: pooled(frames, [intermediateSize, ...repeat(4, [hiddenSize])]),
  };
}

/** Memory of a training step: the formula of docs/numerics.md. */
export function trainingMemory(config: ModelConfig, plan: PlanOptions): TrainingMemory {
  const { tune, targets } = plan;
  const rank = paddedRank(plan.rank ?? loraShape().rank);
  const buffers = stepBuffers(config, plan);
  const parts = {
    frozenWeights: frozenBytes(config, plan),
    trained: 16 * trainedParameters(config, tune, rank, targets),
    activations: sum(buffers.activations),
    scores: sum(buffers.scores),
    working: sum(buffers.working),
    transposed: sum(buffers.transposed),
  };
  return { ...parts, total: sum(Object.values(parts)) };
}

/** What an hour of audio is taken to be: clips of 6 s, answers of 4 tokens a second, prompts of 24 tokens. */
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
  /** Bytes moved: weights for each micro-batch, activations there and back. */
  readonly bytes: number;
}

/**
 * Counted work of an hour of audio. Of a linear: 2 FLOPs a weight and row forwards, 2 for the input's gradient, 2 for the
 * weight's where it is trained. Of attention: 4 · pairs · width forwards, 10 backwards.
 */
export function hourWork(config: ModelConfig, options: PlanOptions): HourWork {
  const { tune, batch } = options;
  const { encoder: e, adaptor: a, llm: m } = config;
  const clips = 3600 / hourOfAudio.clipSeconds;
  const clipFrames = hourOfAudio.clipSeconds * hourOfAudio.framesPerSecond;
  const answer = hourOfAudio.clipSeconds * hourOfAudio.answerRate;
  const clipTokens = hourOfAudio.promptTokens + clipFrames + answer;
  const [frames, tokens] = [clips * clipFrames, clips * clipTokens];
  const counts = countParameters(config);
  const table = m.vocabSize * m.hiddenSize;
  const layers = counts.llm - table; // the embedding is looked up, the head is only for answers
  const isTrained = (part: TunablePart): boolean => tune.includes(part);
  const before = isTrained("adaptor") || isTrained("encoder");
  const times = (part: TunablePart): number => (isTrained(part) ? 6 : before ? 4 : 2);
  const attention = (rows: number, seen: number, width: number, back: boolean): number =>
    rows * seen * width * (back ? 14 : 4);
  const encoderLayers = 1 + e.layers + e.tpLayers;
  const encoderFlops =
    frames * counts.encoder * (isTrained("encoder") ? 6 : 2) +
    encoderLayers * attention(frames, clipFrames, e.hiddenSize, isTrained("encoder"));
  const adaptorFlops =
    frames * counts.adaptor * times("adaptor") +
    a.layers * attention(frames, clipFrames, a.hiddenSize, before);
  const afterAttention = m.hiddenSize * (m.heads * m.headDim + 3 * m.intermediateSize); // in the last layer of answers alone
  const llmFlops =
    (tokens * layers - (tokens - clips * answer) * afterAttention) * 4 +
    m.layers * attention(tokens, clipTokens / 2, m.heads * m.headDim, true) +
    clips * answer * table * 4;
  const memory = trainingMemory(config, options);
  const batches = tokens / batch.tokens;
  const bytes = batches * (2 * memory.frozenWeights + 3 * memory.activations + (28 / 16) * memory.trained); // AdamW reads 4, writes 3 of 4 bytes
  const cached = isTrained("encoder") ? 0 : encoderFlops;
  return { flops: adaptorFlops + llmFlops + encoderFlops - cached, encoderFlops: cached, bytes };
}

/**
 * Counted work of an hour of audio in an alignment: the adaptor forwards twice and backwards once, nothing of the LLM. A
 * micro-batch holds as many frames as one of the cross-entropy tokens.
 */
export function alignmentWork(config: ModelConfig, options: PlanOptions): HourWork {
  const { tune, batch } = options;
  const { encoder: e, adaptor: a } = config;
  const clipFrames = hourOfAudio.clipSeconds * hourOfAudio.framesPerSecond;
  const frames = 3600 * hourOfAudio.framesPerSecond;
  const counts = countParameters(config);
  const encoderLayers = 1 + e.layers + e.tpLayers;
  const trainsEncoder = tune.includes("encoder");
  const pairs = (width: number, flops: number): number => frames * clipFrames * width * flops;
  const adaptorFlops =
    frames * counts.adaptor * ((tune.includes("adaptor") ? 6 : 4) + 2) +
    a.layers * pairs(a.hiddenSize, 14 + 4);
  const encoderFlops =
    frames * counts.encoder * (trainsEncoder ? 6 + 2 : 2) +
    encoderLayers * pairs(e.hiddenSize, trainsEncoder ? 14 + 4 : 4);
  const rows = { frames: batch.tokens, tokens: 0, answerTokens: 0, contrasted: batch.answerTokens };
  const activations = sum(stepBuffers(config, { ...options, batch: rows }).activations);
  const trained = 16 * trainedParameters(config, tune, options.rank, options.targets);
  const bytes = (frames / batch.tokens) * (4 * activations + (28 / 16) * trained);
  const cached = trainsEncoder ? 0 : encoderFlops;
  return { flops: adaptorFlops + encoderFlops - cached, encoderFlops: cached, bytes };
}

/** What a device can do, of this kind of work. */
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

/** A micro-batch of this many tokens, of clips as in `hourOfAudio`. */
export function typicalBatch(tokens: number): BatchRows {
  const frames = hourOfAudio.clipSeconds * hourOfAudio.framesPerSecond;
  const answer = hourOfAudio.clipSeconds * hourOfAudio.answerRate;
  const clips = Math.max(1, Math.floor(tokens / (hourOfAudio.promptTokens + frames + answer)));
  return { frames: clips * frames, tokens, answerTokens: clips * answer };
}
