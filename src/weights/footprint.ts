import { HEAD, expectedTensors } from "../config/expected-tensors.js";
import { type WeightFormat, rowBytes, rowScaleBytes } from "../gpu/matrix.js";
import type { LlmConfig, ModelParts } from "../config/model-config.js";
import { weightFormat } from "./pieces.js";

const ADAPTOR = "model.multi_modal_projector.";

/** Bytes on the GPU. */
export interface Footprint {
  /** Of all weights, as loaded in this format: norms, biases and FSMN taps are f32. */
  readonly weights: number;
  /** With the cache of so many tokens. */
  readonly run: number;
  /** The adaptor trained, all else frozen: its values, gradients and two moments in f32. Without activations, which grow with the batch. */
  readonly train: number;
}

/** Memory that a model needs, counted from its shapes. @param tokens  of the cache: prompt, audio and answer */
export function footprint(config: ModelParts, format: WeightFormat, tokens: number): Footprint {
  let [weights, adaptor, tuned] = [0, 0, 0];
  for (const [name, shape] of expectedTensors(config)) {
    if (name === HEAD && config.llm.tiedHead) continue;
    const bytes = tensorFootprint(shape, format);
    weights += bytes;
    if (!name.startsWith(ADAPTOR)) continue;
    adaptor += bytes;
    tuned += shape.reduce((a, b) => a * b, 1);
  }
  return { weights, run: weights + cacheBytes(config.llm, tokens), train: weights - adaptor + 16 * tuned };
}

/** As ParameterLoader keeps a tensor. */
export function tensorFootprint(shape: readonly number[], format: WeightFormat): number {
  const [rows, columns] = shape;
  if (shape.length !== 2) return 4 * shape.reduce((a, b) => a * b, 1);
  const stored = weightFormat("F32", columns, format)!;
  return rows * (rowBytes(columns, stored) + rowScaleBytes(columns, stored));
}

/** Keys and values of every layer, f32. */
function cacheBytes({ layers, kvHeads, headDim }: LlmConfig, tokens: number): number {
  return tokens * layers * 2 * kvHeads * headDim * 4;
}
