import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import type { RateOption } from "./alarms.js";
import { type AlignmentBatch, alignBatch, recordAlignment, tapAlignment } from "./align-forward.js";
import { canAlign } from "./alignment.js";
import { BatchStream } from "./batches.js";
import { type TrainClip, clipTokens } from "./corpus.js";
import type { BatchRows, ClipSize } from "./counted.js";
import { TrainError } from "./errors.js";
import { type TrainingBatch, answerLosses, recordGradients } from "./forward.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import type { Tap } from "../model/taps.js";
import type { TrainOptions } from "./options.js";
import type { Schedule } from "./schedule.js";

/** A part of a run with a loss, an order of clips, a learning-rate curve and moments of its own. */
export interface Stage {
  readonly loss: "alignment" | "cross-entropy";
  /** Steps of the run before it, and its own. */
  readonly first: number;
  readonly steps: number;
  readonly schedule: Schedule;
  /** Name in messages. */
  readonly rateOption: RateOption;
  readonly clips: readonly TrainClip[];
  readonly stream: BatchStream;
  /** Tokens of a clip, for the batch budget and a step's count. */
  readonly tokens: (clip: TrainClip) => number;
  /** How many of a clip's rows its loss is a mean over. */
  readonly terms: (clip: TrainClip) => number;
  /** Whether a tuned parameter takes part. Default: all do. */
  readonly trains?: (name: string) => boolean;
  /** Sizes of these clips as one micro-batch. */
  readonly rows: (clips: readonly TrainClip[]) => BatchRows;
  /** Gets a micro-batch's gradients ready to be recorded inside a step. */
  readonly pass: (gpu: Gpu, model: FunAsrNano, batch: TrainingBatch, of: PassOf) => Promise<Pass>;
  /** The loss's forward pass inside a step, each stage seen by the tap up to the losses. */
  readonly tapped: (gpu: Gpu, model: FunAsrNano, micro: MicroBatch, tap: Tap) => void;
}

/** A packed batch and its clips. */
export interface MicroBatch {
  readonly batch: TrainingBatch;
  readonly members: readonly TrainClip[];
}

export interface PassOf {
  readonly members: readonly TrainClip[];
  /** Terms of the whole optimiser step. */
  readonly denominator: number;
  /** Of dropout, u32. */
  readonly seed: number;
}

/** One micro-batch's share of the loss, known already or as losses that the step reads. */
export interface Pass {
  readonly loss?: number;
  /**
   * Adds the gradients to the trainables'.
   * @returns what is to be summed up and divided by the denominator, where `loss` is not known
   */
  readonly record: () => readonly Tensor[];
}

/** Clips that can be aligned, and counts of the others. */
export interface Alignable {
  readonly clips: readonly TrainClip[];
  /** Lines without a transcript. */
  readonly unknown: number;
  /** Clips with fewer frames than their transcript needs. */
  readonly short: number;
}

export function alignable(clips: readonly TrainClip[]): Alignable {
  const known = clips.filter(({ transcript }) => transcript !== undefined);
  const fit = known.filter(isAlignable);
  return { clips: fit, unknown: clips.length - known.length, short: known.length - fit.length };
}

/** Whether a clip's transcript is known and no longer than its frames allow. */
export function isAlignable({ transcript, prompt }: TrainClip): boolean {
  return transcript !== undefined && canAlign(prompt.audioLength, transcript);
}

/**
 * The stages of a run in their order; each has at least one step.
 * @throws TrainError  no clip can be aligned, one passes the batch budget
 */
export function stagesOf(all: readonly TrainClip[], options: TrainOptions): Stage[] {
  const { align, steps } = options;
  const stages: Stage[] = [];
  if (align > 0) stages.push(alignmentStage(alignable(all), options));
  if (steps > align) stages.push(answerStage(all, options));
  return stages;
}

const rise = 0.1; // share of the alignment's steps over which its rate rises

function spokenIn({ batch, members }: MicroBatch): AlignmentBatch {
  return { ...batch, transcripts: members.map(({ transcript }) => transcript!) };
}

function alignmentStage({ clips, unknown, short }: Alignable, options: TrainOptions): Stage {
  if (clips.length === 0) {
    throw new TrainError(
      `align: expected clips whose transcript is known, got ${unknown} lines without one and ${short} clips shorter than theirs; add a transcript to the lines, or leave --align out`,
    );
  }
  const tokens = ({ prompt }: TrainClip): number => prompt.audioLength;
  const { align, alignRate, schedule: shape, floor, batchTokens: budget, seed } = options;
  const warmup = Math.floor(rise * align);
  return {
    loss: "alignment",
    first: 0,
    steps: align,
    clips,
    tokens,
    terms: tokens,
    rateOption: "--align-lr",
    trains: (name) => !name.includes(".lora_"),
    schedule: { peak: alignRate, warmup, total: align, shape, floor },
    stream: new BatchStream(clips.map(tokens), { budget, seed }),
    rows: (members) => ({
      ...batchRows(members),
      contrasted: 1 + new Set(members.flatMap(({ transcript }) => transcript!)).size,
    }),
    pass: async (gpu, model, batch, { members, denominator }) => {
      const spoken = spokenIn({ batch, members });
      const alignment = await alignBatch(gpu, model, spoken, denominator);
      const record = (): readonly Tensor[] => {
        recordAlignment(gpu, model, spoken, alignment);
        return [];
      };
      return { loss: alignment.loss, record };
    },
    tapped: (gpu, model, micro, tap) => tapAlignment(gpu, model, spokenIn(micro), tap),
  };
}

function answerStage(clips: readonly TrainClip[], options: TrainOptions): Stage {
  const { align, steps, learningRate: peak, warmup, schedule: shape, floor, labelSmoothing } = options;
  const { batchTokens: budget, seed } = options;
  return {
    loss: "cross-entropy",
    first: align,
    steps: steps - align,
    clips,
    tokens: clipTokens,
    terms: ({ answer }) => answer.length,
    rateOption: "--lr",
    schedule: { peak, warmup, total: steps - align, shape, floor },
    stream: new BatchStream(clips.map(clipTokens), { budget, seed }),
    rows: batchRows,
    pass: (gpu, model, batch, { denominator, seed: draws }) =>
      Promise.resolve({
        record: () => [recordGradients(gpu, model, batch, { denominator, labelSmoothing, seed: draws })],
      }),
    tapped: (gpu, model, { batch }, tap) => tap("the losses", answerLosses(gpu, model, batch, { tap })),
  };
}

/** Sizes of these clips as one micro-batch of the cross-entropy. */
export function batchRows(clips: readonly TrainClip[]): BatchRows {
  const size = ({ frames, prompt, answer }: TrainClip): ClipSize => ({
    frames,
    text: prompt.ids.length - prompt.audioLength,
    answer: answer.length,
  });
  return { clips: clips.map(size) };
}
