import type { Gpu } from "../gpu/device.js";
import { ShapeError } from "../gpu/errors.js";
import type { Matrix } from "../gpu/matrix.js";
import type { Tensor } from "../gpu/tensor.js";
import { attention } from "../kernels/attention/attention.js";
import { takeRows } from "../kernels/copy-rows/copy-rows.js";
import { embedding } from "../kernels/embedding/embedding.js";
import { type Projection, linear, linearSwiglu, projection } from "../kernels/linear/linear.js";
import { type KeysAndValues, qkvProjection } from "../kernels/qk-norm-rope/qkv-projection.js";
import { rmsNorm } from "../kernels/rms-norm/rms-norm.js";
import type { LlmConfig } from "../config/model-config.js";
import type { KvCache, LlmRows } from "./kv-cache.js";
import { loadWeights } from "../weights/memory.js";
import { type LoadOptions, type ParameterLoader, type ParameterSource, all } from "../weights/loader.js";
import { type Tap, noTap } from "./taps.js";

export interface Qwen3Layer {
  readonly inputLayernorm: Tensor;
  /**
   * Query, key and value projections: one below the other, or each by itself where they are stored
   * in several formats.
   */
  readonly qkvProj: readonly Projection[];
  readonly oProj: Projection;
  readonly qNorm: Tensor;
  readonly kNorm: Tensor;
  readonly postAttentionLayernorm: Tensor;
  /** Gate and up projections, likewise. */
  readonly gateUpProj: readonly Projection[];
  readonly downProj: Projection;
}

export interface Qwen3 {
  readonly config: LlmConfig;
  readonly embedTokens: Matrix;
  readonly layers: readonly Qwen3Layer[];
  readonly norm: Tensor;
  /** The embedding itself where the config ties them. */
  readonly lmHead: Matrix;
}

async function loadLayer(load: ParameterLoader, name: string): Promise<Qwen3Layer> {
  return all({
    inputLayernorm: load.vector(`${name}.input_layernorm.weight`),
    qkvProj: load.stacked(["q", "k", "v"].map((part) => `${name}.self_attn.${part}_proj.weight`)),
    oProj: load.matrix(`${name}.self_attn.o_proj.weight`),
    qNorm: load.vector(`${name}.self_attn.q_norm.weight`),
    kNorm: load.vector(`${name}.self_attn.k_norm.weight`),
    postAttentionLayernorm: load.vector(`${name}.post_attention_layernorm.weight`),
    gateUpProj: load.stacked(["gate", "up"].map((part) => `${name}.mlp.${part}_proj.weight`)),
    downProj: load.matrix(`${name}.mlp.down_proj.weight`),
  });
}

export async function loadQwen3(load: ParameterLoader, config: LlmConfig): Promise<Qwen3> {
  const at = "model.language_model";
  const layer = (_: unknown, i: number): Promise<Qwen3Layer> => loadLayer(load, `${at}.layers.${i}`);
  const { head, ...parts } = await all({
    embedTokens: load.matrix(`${at}.embed_tokens.weight`),
    layers: Promise.all(Array.from({ length: config.layers }, layer)),
    norm: load.vector(`${at}.norm.weight`),
    head: config.tiedHead ? undefined : load.matrix("lm_head.weight"),
  });
  return { config, ...parts, lmHead: head ?? parts.embedTokens };
}

/** Qwen3 without encoder and adaptor, loaded. */
export interface LanguageModel {
  readonly llm: Qwen3;
  /** Gives the weights' GPU memory back. */
  free(): void;
}

/**
 * Puts a language model alone on the GPU.
 * @throws CheckpointError  a parameter is missing; OutOfMemoryError  see loadWeights
 */
export async function loadLanguageModel(
  gpu: Gpu,
  config: LlmConfig,
  source: ParameterSource,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  return loadWeights(gpu, source, options, (load) => all({ llm: loadQwen3(load, config) }));
}

/** Token ids → their embeddings [S, D] f32. @throws ShapeError  an id is outside the vocabulary */
export function embedTokens(gpu: Gpu, w: Qwen3, ids: readonly number[]): Tensor {
  const { vocabSize } = w.config;
  const outside = ids.find((id) => !(id >= 0 && id < vocabSize));
  if (outside !== undefined) {
    throw new ShapeError(`prompt: token ids must lie below the vocabulary's ${vocabSize}, got ${outside}`);
  }
  return embedding(gpu, gpu.upload(new Uint32Array(ids), [ids.length]), w.embedTokens);
}

/** What a decoder layer takes beside its weights and its input. */
interface LayerStep {
  readonly config: LlmConfig;
  readonly rows: LlmRows;
  /** The layer's share of the KV cache. Absent: the step holds whole sequences. */
  readonly cache: KeysAndValues | undefined;
  /**
   * Rows of the output, in this order: what follows the attention goes row by row. Default: all.
   */
  readonly only: readonly number[] | undefined;
}

/**
 * Causal grouped-query attention of the step's rows over their sequences.
 * x [S, D] → [S, heads · headDim]
 */
function selfAttention(gpu: Gpu, w: Qwen3Layer, x: Tensor, { config, rows, cache }: LayerStep): Tensor {
  const { heads, kvHeads, rmsNormEps: eps } = config;
  const { angles, slots, ranges, tiles, longest, pages } = rows;
  const { inputLayernorm: gamma, qNorm, kNorm } = w;
  const options = { gamma, qNorm, kNorm, eps, kvHeads, angles, slots, cache };
  const { q, keys, values } = qkvProjection(gpu, x, w.qkvProj, options);
  return attention(gpu, q, keys, values, { heads, kvHeads, ranges, tiles, longest, pages });
}

/** x [S, D] → [S, D] f32, or as many rows as `only` has */
function decoderLayer(gpu: Gpu, w: Qwen3Layer, x: Tensor, step: LayerStep): Tensor {
  const { only, config } = step;
  const wanted = (all: Tensor): Tensor => (only ? takeRows(gpu, all, only) : all);
  const attended = wanted(selfAttention(gpu, w, x, step));
  const r = projection(gpu, attended, w.oProj, wanted(x));
  const norm = { gamma: w.postAttentionLayernorm, eps: config.rmsNormEps };
  const gated = linearSwiglu(gpu, r, w.gateUpProj, norm);
  return projection(gpu, gated, w.downProj, r);
}

export interface Qwen3Options {
  /**
   * Rows whose final hidden states are asked for, in this order; the last layer makes no others.
   * Default: all.
   */
  readonly only?: readonly number[];
  readonly tap?: Tap;
}

/**
 * Embeddings of the step's rows → final hidden states; keys and values go into the cache.
 * @param embeds  [S, D] f32, the rows that `cache.append` placed, or those of `wholeSequences`
 *                where there is no cache
 * @returns       [S, D] f32, or as many rows as `only` has, after the final norm
 * @source transformers Qwen3Model
 */
export function qwen3(
  gpu: Gpu,
  w: Qwen3,
  embeds: Tensor,
  rows: LlmRows,
  cache: KvCache | undefined,
  { only, tap = noTap }: Qwen3Options = {},
): Tensor {
  tap("llm.inputs_embeds", embeds);
  const x = gpu.chain(embeds, w.layers, (input, layer, i) => {
    const last = i === w.layers.length - 1;
    const step = { config: w.config, rows, cache: cache?.layer(i), only: last ? only : undefined };
    const output = decoderLayer(gpu, layer, input, step);
    tap(`llm.layers.${i}`, output);
    return output;
  });
  const hidden = rmsNorm(gpu, x, w.norm, w.config.rmsNormEps);
  tap("llm.norm", hidden);
  return hidden;
}

/** Hidden states [S, D] → scores of every token [S, V] f32 */
export function lmHead(gpu: Gpu, w: Qwen3, hidden: Tensor, tap: Tap = noTap): Tensor {
  const logits = linear(gpu, hidden, w.lmHead);
  tap("logits", logits);
  return logits;
}
