import { HEAD, expectedTensors } from "../config/expected-tensors.js";
import { bucketBytes } from "../gpu/arena.js";
import type { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { ModelConfig } from "../config/model-config.js";
import { tensorFootprint } from "../weights/footprint.js";
import { weightFormat } from "../weights/pieces.js";
import { type TunablePart, isTuned } from "./tune.js";

/** What decides how weights lie on the GPU. */
export interface WeightPlan {
  readonly tune: readonly TunablePart[];
  /** Of the frozen weights. */
  readonly weights: WeightFormat;
  /** Bytes that a transposed weight has at most, see transposeLimit. Default: any. */
  readonly transposeLimit?: number | undefined;
}

const EMBEDDING = "model.language_model.embed_tokens.weight";
const FIRST = "model.multi_modal_projector.linear_1.weight";

/** Bytes of everything that is not tuned: matrices in their format, norms, biases and FSMN taps in f32. */
export function frozenBytes(config: ModelConfig, { tune, weights }: WeightPlan): number {
  const tuned = isTuned(tune);
  let bytes = 0;
  for (const [name, shape] of expectedTensors(config)) {
    if (tuned(name) || (name === HEAD && config.llm.tiedHead)) continue;
    bytes += tensorFootprint(shape, weights);
  }
  return bytes;
}

/**
 * Bytes of the pool's buffers for transposed weights: of each size one, since a gradient of an input transposes its weight [N, K],
 * and is done with it before the next does. bf16 and f16 keep their type, all else is f32.
 * @param aligned  the loss is an alignment's, which passes the adaptor alone
 */
export function transposedBuffers(config: ModelConfig, plan: WeightPlan, aligned: boolean): number[] {
  const { tune, weights, transposeLimit: limit = Infinity } = plan;
  const tuned = isTuned(tune);
  const passes = passed(config, tune, aligned);
  const sizes = new Set<number>();
  for (const [name, shape] of expectedTensors(config)) {
    const [rows, columns] = shape;
    if (shape.length !== 2 || rows % 8 !== 0 || !passes(name)) continue;
    const format = tuned(name) ? "f32" : weightFormat("F32", columns, weights);
    const bytes = rows * columns * (format === "bf16" || format === "f16" ? 2 : 4);
    if (bytes <= limit) sizes.add(bucketBytes(bytes));
  }
  return [...sizes];
}

/** Whether a gradient goes back through a weight to its input. */
function passed(
  { llm }: ModelConfig,
  tune: readonly TunablePart[],
  aligned: boolean,
): (name: string) => boolean {
  const [encoder, before] = [tune.includes("encoder"), tune.some((part) => part !== "lora")];
  const unused = llm.tiedHead ? HEAD : EMBEDDING; // the head multiplies, the embedding is looked up
  return (name) => {
    if (name.startsWith("model.audio_tower.")) return encoder;
    if (name === FIRST) return encoder;
    if (name.startsWith("model.multi_modal_projector.")) return before;
    return !aligned && name !== unused;
  };
}

/** Bytes that a transposed weight has at most on this device: 0 where its kernels read weights as they are. */
export function transposeLimit({ device, subgroupSize }: Pick<Gpu, "device" | "subgroupSize">): number {
  const { maxStorageBufferBindingSize, maxBufferSize } = device.limits;
  return subgroupSize === undefined ? 0 : Math.min(maxStorageBufferBindingSize, maxBufferSize);
}
