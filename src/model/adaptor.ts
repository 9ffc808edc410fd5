import type { Gpu } from "../gpu/device.js";
import type { Segments } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import type { AdaptorConfig } from "../config/model-config.js";
import {
  type Affine,
  type EncoderLayer,
  affine,
  encoderLayer,
  loadAffine,
  loadEncoderLayer,
} from "./encoder-layer.js";
import { type ParameterLoader, all } from "../weights/loader.js";
import { type Tap, noTap } from "./taps.js";

/** Encoder states → LLM embeddings: two linears, then bidirectional blocks at the LLM's width. */
export interface Adaptor {
  readonly config: AdaptorConfig;
  readonly linear1: Affine;
  readonly linear2: Affine;
  readonly blocks: readonly EncoderLayer[];
}

const prefix = "model.multi_modal_projector";

export async function loadAdaptor(load: ParameterLoader, config: AdaptorConfig): Promise<Adaptor> {
  const block = (_: unknown, i: number): Promise<EncoderLayer> =>
    loadEncoderLayer(load, `${prefix}.layers.${i}`, { memory: false });
  const parts = await all({
    linear1: loadAffine(load, `${prefix}.linear_1`),
    linear2: loadAffine(load, `${prefix}.linear_2`),
    blocks: Promise.all(Array.from({ length: config.layers }, block)),
  });
  return { config, ...parts };
}

/**
 * Encoder states of packed clips → LLM embeddings.
 * @param states  [T, encoder width] f32
 * @returns       [T, LLM width] f32
 * @source transformers FunAsrNanoMultiModalProjector
 */
export function adaptor(gpu: Gpu, w: Adaptor, states: Tensor, segments: Segments, tap: Tap = noTap): Tensor {
  const projected = gpu.scope(() =>
    affine(gpu, affine(gpu, states, w.linear1, { activation: "relu" }), w.linear2),
  );
  tap("adaptor.projector", projected);
  return gpu.chain(projected, w.blocks, (x, block, i) => {
    const output = encoderLayer(gpu, block, x, segments, w.config);
    tap(`adaptor.blocks.${i}`, output);
    return output;
  });
}
