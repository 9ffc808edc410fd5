import type { Gpu } from "../gpu/device.js";
import { ShapeError } from "../gpu/errors.js";
import { type Segments, makeSegments } from "../kernels/attention/segments.js";
import type { Trainable } from "../gpu/tape.js";
import type { Tensor } from "../gpu/tensor.js";
import { spliceRows, takeRows } from "../kernels/copy-rows/copy-rows.js";
import { type Adaptor, adaptor, loadAdaptor } from "./adaptor.js";
import { type ModelConfig, audioTokens } from "../config/model-config.js";
import { loadWeights } from "../weights/memory.js";
import { type LoadOptions, type ParameterSource, all } from "../weights/loader.js";
import { type Qwen3, embedTokens, loadQwen3 } from "./qwen3.js";
import { type SanmEncoder, loadSanmEncoder, sanmEncoder } from "./sanm-encoder.js";
import type { Tap } from "./taps.js";

/** A loaded checkpoint: SAN-M encoder, adaptor, Qwen3. */
export interface FunAsrNano {
  readonly config: ModelConfig;
  readonly encoder: SanmEncoder;
  readonly adaptor: Adaptor;
  readonly llm: Qwen3;
  /** Parameters that are trained, in the order of loading; a LoRA's come after them. */
  readonly trainables: readonly Trainable[];
  /** Gives the weights' GPU memory back. */
  free(): void;
}

/**
 * Puts a checkpoint on the GPU.
 * @throws CheckpointError  a parameter is missing; OutOfMemoryError  see loadWeights
 */
export async function loadFunAsrNano(
  gpu: Gpu,
  config: ModelConfig,
  source: ParameterSource,
  options: LoadOptions = {},
): Promise<FunAsrNano> {
  const parts = await loadWeights(gpu, source, options, async (load) => {
    const loaded = await all({
      encoder: loadSanmEncoder(load, config.encoder),
      adaptor: loadAdaptor(load, config.adaptor),
      llm: loadQwen3(load, config.llm),
    });
    return { ...loaded, trainables: load.trainables };
  });
  return { config, ...parts };
}

/** A packed batch of clips' features. */
export interface Clips {
  /** [ΣT, 560] f32 */
  readonly features: Float32Array;
  /** T of each clip */
  readonly frames: readonly number[];
}

/** Packed features and their segments, uploaded to the running step. */
function uploadClips(gpu: Gpu, clips: Clips, width: number): { features: Tensor; segments: Segments } {
  const segments = makeSegments(gpu, clips.frames);
  return { features: gpu.upload(clips.features, [segments.rows, width]), segments };
}

/** Features → encoder states [ΣT, D]. */
export function encode(gpu: Gpu, model: FunAsrNano, clips: Clips, tap?: Tap): Tensor {
  const { features, segments } = uploadClips(gpu, clips, model.config.encoder.inputSize);
  return gpu.scope(() => sanmEncoder(gpu, model.encoder, features, segments, tap));
}

/**
 * Encoder states → the audio embeddings that reach the LLM [ΣL, D], by the checkpoint's audio-token
 * rule.
 */
export function adapt(
  gpu: Gpu,
  model: FunAsrNano,
  states: Tensor,
  frames: readonly number[],
  tap?: Tap,
): Tensor {
  return gpu.scope(() => {
    const segments = makeSegments(gpu, frames);
    const all = adaptor(gpu, model.adaptor, states, segments, tap);
    const rule = model.config.audioTokenRule;
    if (rule === "all") return all;
    const kept = frames.flatMap((count, clip) =>
      Array.from({ length: audioTokens(rule, count) }, (_, i) => segments.offsets[clip] + i),
    );
    return takeRows(gpu, all, kept);
  });
}

/** A prompt's tokens, with the run of placeholders that audio embeddings replace. */
export interface PromptTokens {
  readonly ids: readonly number[];
  readonly audioOffset: number;
  readonly audioLength: number;
}

/**
 * Embeddings of packed prompts with the audio in its slots.
 * @param audio  [ΣL, D] f32, the clips' embeddings in the order of the prompts
 * @returns      [ΣS, D] f32
 * @throws ShapeError  the slots and the audio rows differ in number, or an id is outside the
 *                     vocabulary
 */
export function promptEmbeddings(
  gpu: Gpu,
  model: FunAsrNano,
  prompts: readonly PromptTokens[],
  audio: Tensor,
): Tensor {
  const pairs: [number, number][] = [];
  let row = 0;
  for (const { ids: tokens, audioOffset, audioLength } of prompts) {
    for (let i = 0; i < audioLength; i++) pairs.push([pairs.length, row + audioOffset + i]);
    row += tokens.length;
  }
  if (pairs.length !== audio.shape[0]) {
    throw new ShapeError(`prompt: audio slots must hold ${audio.shape[0]} tokens, got ${pairs.length}`);
  }
  const embeds = embedTokens(
    gpu,
    model.llm,
    prompts.flatMap(({ ids }) => [...ids]),
  );
  spliceRows(gpu, audio, pairs, embeds);
  return embeds;
}
