import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { argmax } from "../kernels/argmax/argmax.js";
import { type FunAsrNano, type PromptTokens, promptEmbeddings } from "../model/fun-asr-nano.js";
import { type DecodeOptions, type Decoded, type Picker, decode } from "./loop.js";
import { samplingPicker } from "./sampler.js";

/** The token of the highest score, found and kept on the GPU: only its id is read back. */
export function greedyPicker(gpu: Gpu): Picker {
  return {
    onDevice: true,
    record: (logits, ids) => argmax(gpu, logits, ids),
    pick: (seen) => seen,
  };
}

/**
 * The token of the highest score after a repetition penalty, where that is not 1. Tokens of the
 * prompts have none: hotwords and the token that ends an answer are among them.
 * @throws DecodeError  a penalty that is no positive number
 */
export function penalisedPicker(gpu: Gpu, sequences: number, repetitionPenalty = 1): Picker {
  if (repetitionPenalty === 1) return greedyPicker(gpu);
  const prompts = Array.from({ length: sequences }, () => []);
  return samplingPicker(gpu, prompts, { repetitionPenalty });
}

export interface GreedyOptions extends DecodeOptions {
  /** See penalisedPicker. Default: 1. */
  readonly repetitionPenalty?: number | undefined;
}

/**
 * Greedy decoding of a batch of prompts with audio in them.
 * @param audio  [ΣL, D] f32, held: the clips' embeddings in the order of the prompts
 */
export function greedy(
  gpu: Gpu,
  model: FunAsrNano,
  prompts: readonly PromptTokens[],
  audio: Tensor,
  options: GreedyOptions,
): Promise<Decoded[]> {
  const lengths = prompts.map(({ ids }) => ids.length);
  const embed = (): Tensor => promptEmbeddings(gpu, model, prompts, audio);
  const picker = penalisedPicker(gpu, prompts.length, options.repetitionPenalty);
  return decode(gpu, model.llm, { lengths, embed }, picker, options);
}
