import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { argmax } from "../kernels/argmax/argmax.js";
import { type FunAsrNano, type PromptTokens, promptEmbeddings } from "../model/fun-asr-nano.js";
import { type DecodeOptions, type Decoded, type Picker, decode } from "./loop.js";

/** The token of the highest score, found and kept on the GPU: only its id is read back. */
export function greedyPicker(gpu: Gpu): Picker {
  return {
    onDevice: true,
    record: (logits, ids) => argmax(gpu, logits, ids),
    pick: (seen) => seen,
  };
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
  options: DecodeOptions,
): Promise<Decoded[]> {
  const lengths = prompts.map(({ ids }) => ids.length);
  const embed = (): Tensor => promptEmbeddings(gpu, model, prompts, audio);
  return decode(gpu, model.llm, { lengths, embed }, greedyPicker(gpu), options);
}
