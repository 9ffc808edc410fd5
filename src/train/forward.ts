import type { Gpu } from "../gpu/device.js";
import { ShapeError } from "../gpu/errors.js";
import { Tape } from "../gpu/tape.js";
import type { Tensor } from "../gpu/tensor.js";
import { addInto } from "../kernels/add/add-into.js";
import { add } from "../kernels/add/add.js";
import { crossEntropy } from "../kernels/cross-entropy/cross-entropy.js";
import {
  type FunAsrNano,
  type PromptTokens,
  adapt,
  encode,
  promptEmbeddings,
} from "../model/fun-asr-nano.js";
import { wholeSequences } from "../model/kv-cache.js";
import { qwen3 } from "../model/qwen3.js";
import type { Tap } from "../model/taps.js";
import { sum } from "../arrays.js";

/** Clips with their prompts and answers, packed. */
export interface TrainingBatch {
  /**
   * Features [ΣT, 560] f32, or encoder states [ΣT, D] f32 that were computed before: then the
   * encoder does not run.
   */
  readonly audio: { readonly features: Float32Array } | { readonly states: Float32Array };
  /** T of each clip. */
  readonly frames: readonly number[];
  /** Prompt before each answer. */
  readonly prompts: readonly PromptTokens[];
  /** Token ids that are learnt, up to and with the one that ends the answer. */
  readonly answers: readonly (readonly number[])[];
}

export interface LossOptions {
  /** Share of each target that is spread over the vocabulary. Default: 0. */
  readonly labelSmoothing?: number;
  /** Bytes of scores that are on the GPU at a time. Default: 64 MiB. */
  readonly scoreBytes?: number;
  readonly tap?: Tap;
}

export interface GradientOptions extends LossOptions {
  /** Answer tokens of the whole optimiser step, which divide the sum of the losses. */
  readonly denominator: number;
  /** Seed of this pass's dropout, u32. Default: 0. */
  readonly seed?: number;
}

/**
 * Sequences as they enter the LLM, without each answer's last token; the rows that predict, and
 * their targets.
 */
function sequences({ prompts, answers }: TrainingBatch): {
  packed: PromptTokens[];
  rows: number[];
  labels: number[];
} {
  if (answers.length !== prompts.length)
    throw new ShapeError(`batch: answers must be ${prompts.length}, got ${answers.length}`);
  const packed: PromptTokens[] = [];
  const rows: number[] = [];
  let start = 0;
  for (const [i, prompt] of prompts.entries()) {
    const answer = answers[i];
    if (answer.length === 0) throw new ShapeError(`batch: answer ${i} must have at least 1 token, got none`);
    for (let j = 0; j < answer.length; j++) rows.push(start + prompt.ids.length - 1 + j);
    const ids = [...prompt.ids, ...answer.slice(0, -1)];
    packed.push({ ...prompt, ids });
    start += ids.length;
  }
  return { packed, rows, labels: answers.flat() };
}

/** Frames of packed clips → their encoder states [ΣT, D], by the encoder or as they were given. */
export function encoderStates(
  gpu: Gpu,
  model: FunAsrNano,
  { audio, frames }: Pick<TrainingBatch, "audio" | "frames">,
  tap?: Tap,
): Tensor {
  if ("features" in audio) return encode(gpu, model, { features: audio.features, frames }, tap);
  const rows = sum(frames);
  return gpu.upload(audio.states, [rows, model.config.encoder.hiddenSize]);
}

/**
 * Cross-entropy of every answer token, teacher-forced, inside a step.
 * @returns  [Σ answer tokens] f32, in nats, in the order of the answers
 */
export function answerLosses(
  gpu: Gpu,
  model: FunAsrNano,
  batch: TrainingBatch,
  options: LossOptions & { readonly denominator?: number } = {},
): Tensor {
  const { packed, rows, labels } = sequences(batch);
  const { llm } = model;
  const { tap } = options;
  return gpu.scope(() => {
    const states = encoderStates(gpu, model, batch, tap);
    const audio = adapt(gpu, model, states, batch.frames, tap);
    const embeds = promptEmbeddings(gpu, model, packed, audio);
    const lengths = packed.map(({ ids }) => ids.length);
    const placed = wholeSequences(gpu, llm.config, lengths);
    const hidden = qwen3(gpu, llm, embeds, placed, undefined, { only: rows, tap });
    return crossEntropy(gpu, hidden, llm.lmHead, labels, {
      denominator: options.denominator,
      labelSmoothing: options.labelSmoothing,
      budgetBytes: options.scoreBytes,
    });
  });
}

/**
 * Forward and backward pass inside a step: adds the gradient of Σ losses / denominator to the
 * gradients of the model's trainables, which the caller clears.
 * @returns  losses as answerLosses has them
 */
export function recordGradients(
  gpu: Gpu,
  model: FunAsrNano,
  batch: TrainingBatch,
  options: GradientOptions,
): Tensor {
  const tape = new Tape(gpu, model.trainables, { add, addInto }, options.seed);
  gpu.tape = tape;
  try {
    const losses = answerLosses(gpu, model, batch, options);
    tape.backward();
    return losses;
  } finally {
    gpu.tape = undefined;
  }
}
