import { BatchStream } from "./batches.js";
import { TrainError } from "./errors.js";
import type { Identity } from "./state.js";
import type { Schedule } from "./schedule.js";

/** Options of a run. */
export interface TrainOptions {
  /** Optimiser steps in all. */
  readonly steps: number;
  /** The first of them, which align the adaptor's outputs to the transcripts' token embeddings. */
  readonly align: number;
  /** Highest learning rate of the alignment. */
  readonly alignRate: number;
  /** Highest learning rate of the cross-entropy. */
  readonly learningRate: number;
  /** Steps over which it rises; the alignment's rises over a tenth of its own. */
  readonly warmup: number;
  readonly schedule: Schedule["shape"];
  /** Share of the learning rate that the cosine ends at. */
  readonly floor: number;
  /** Global gradient norm at most; 0: no clipping. */
  readonly clip: number;
  readonly decay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** Tokens of one micro-batch at most. */
  readonly batchTokens: number;
  /** Micro-batches of one optimiser step. */
  readonly accumulate: number;
  readonly labelSmoothing: number;
  readonly seed: number;
  /** Steps between two validations, each followed by a saved state. */
  readonly every: number;
  /** Validation clips that are decoded. */
  readonly decode: number;
}

/** Options as they are given. `settle` computes those that depend on the data. */
export interface AskedOptions extends Omit<TrainOptions, "warmup"> {
  /** Default: a tenth of the steps behind the alignment. */
  readonly warmup?: number | undefined;
  /** Passes over the data behind the alignment, instead of `steps`. */
  readonly epochs?: number | undefined;
}

/** The defaults of `funasr-webgpu train`. */
export const defaultOptions: TrainOptions = {
  steps: 1000,
  align: 0,
  alignRate: 1e-3,
  learningRate: 1e-4,
  warmup: 100,
  schedule: "cosine",
  floor: 0,
  clip: 1,
  decay: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  batchTokens: 2048,
  accumulate: 1,
  labelSmoothing: 0,
  seed: 1,
  every: 200,
  decode: 50,
};

type Bound = readonly [low: number, high: number, whole: boolean];

/** Allowed numbers of an option. */
export const bounds: Readonly<Record<Exclude<keyof AskedOptions, "schedule">, Bound>> = {
  steps: [1, 1e9, true],
  epochs: [1, 10_000, true],
  align: [0, 1e9, true],
  alignRate: [0, 10, false],
  learningRate: [0, 10, false],
  warmup: [0, 1e9, true],
  floor: [0, 1, false],
  clip: [0, 1e9, false],
  decay: [0, 10, false],
  beta1: [0, 0.999_999, false],
  beta2: [0, 0.999_999_9, false],
  eps: [1e-30, 1, false],
  batchTokens: [1, 1e7, true],
  accumulate: [1, 1e6, true],
  labelSmoothing: [0, 0.999, false],
  seed: [0, 2 ** 32 - 1, true],
  every: [1, 1e9, true],
  decode: [0, 1e9, true],
};

export function isWithin(value: number, [low, high, whole]: Bound): boolean {
  return value >= low && value <= high && (!whole || Number.isInteger(value));
}

/** "a whole number from 1 to 10" */
export function boundName([low, high, whole]: Bound): string {
  return `a ${whole ? "whole " : ""}number from ${low} to ${high}`;
}

/** @throws TrainError  an option out of its range */
export function checkOptions(options: AskedOptions): void {
  for (const [name, [low, high, whole]] of Object.entries(bounds)) {
    const value = options[name as keyof typeof bounds];
    if (value === undefined || isWithin(value, [low, high, whole])) continue;
    throw new TrainError(`${name}: expected ${boundName([low, high, whole])}, got ${value}`);
  }
  if (options.epochs === undefined && options.align > options.steps)
    throw new TrainError(`align: expected at most the ${options.steps} steps in all, got ${options.align}`);
}

/**
 * The options of a run over these clips. Epochs become the fewest steps that hold them; the last
 * step may reach into the next epoch.
 * @param sizes  tokens of each clip
 */
export function settle({ epochs, ...asked }: AskedOptions, sizes: readonly number[]): TrainOptions {
  const { align, batchTokens: budget, seed, accumulate } = asked;
  const micro = (count: number): number => new BatchStream(sizes, { budget, seed }).count(count);
  const steps = epochs === undefined ? asked.steps : align + Math.ceil(micro(epochs) / accumulate);
  const { warmup = Math.floor((steps - align) / 10) } = asked;
  return { ...asked, steps, warmup };
}

/** Options that must be equal for a run to be resumed. */
export function identityOf(options: TrainOptions, rest: Identity): Identity {
  return { ...options, ...rest };
}
