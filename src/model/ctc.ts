import type { CtcConfig } from "../config/ctc-config.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import type { Segments } from "../kernels/attention/segments.js";
import { type ParameterLoader, all } from "../weights/loader.js";
import {
  type Affine,
  type EncoderLayer,
  affine,
  encoderLayer,
  loadAffine,
  loadEncoderLayer,
} from "./encoder-layer.js";
import { type Tap, noTap } from "./taps.js";

/** Encoder states → logits of tokens and the blank: two linears, bidirectional blocks, one linear. */
export interface Ctc {
  readonly config: CtcConfig;
  readonly linear1: Affine;
  readonly linear2: Affine;
  readonly blocks: readonly EncoderLayer[];
  readonly out: Affine;
}

export async function loadCtc(load: ParameterLoader, config: CtcConfig): Promise<Ctc> {
  const block = (_: unknown, i: number): Promise<EncoderLayer> =>
    loadEncoderLayer(load, `ctc_decoder.layers.${i}`, { memory: false });
  const parts = await all({
    linear1: loadAffine(load, "ctc_decoder.linear_1"),
    linear2: loadAffine(load, "ctc_decoder.linear_2"),
    blocks: Promise.all(Array.from({ length: config.layers }, block)),
    out: loadAffine(load, "ctc.ctc_lo"),
  });
  return { config, ...parts };
}

/**
 * Encoder states of packed clips → hidden states.
 * @param states  [T, encoder width] f32
 * @returns       [T, D] f32
 * @source funasr `llm_asr.adaptor.Transformer` without downsampling
 */
export function ctcDecoder(gpu: Gpu, w: Ctc, states: Tensor, segments: Segments, tap: Tap = noTap): Tensor {
  const projected = gpu.scope(() =>
    affine(gpu, affine(gpu, states, w.linear1, { activation: "relu" }), w.linear2),
  );
  tap("ctc.projector", projected);
  return gpu.chain(projected, w.blocks, (x, block, i) => {
    const output = encoderLayer(gpu, block, x, segments, w.config);
    tap(`ctc.blocks.${i}`, output);
    return output;
  });
}

/**
 * Hidden states → logits, before the softmax. [T, D] → [T, V] f32
 * @source funasr `fun_asr_nano.ctc.CTC`, ctc_lo
 */
export function ctcLogits(gpu: Gpu, w: Ctc, hidden: Tensor, tap: Tap = noTap): Tensor {
  const logits = affine(gpu, hidden, w.out);
  tap("ctc.logits", logits);
  return logits;
}
