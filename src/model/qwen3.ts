import type { Gpu } from "../gpu/device.js";
import { ShapeError } from "../gpu/errors.js";
import type { Matrix } from "../gpu/matrix.js";
import type { Tensor } from "../gpu/tensor.js";
import { add } from "../kernels/add/add.js";
import { attention } from "../kernels/attention/attention.js";
import { copyRows } from "../kernels/copy-rows/copy-rows.js";
import { embedding } from "../kernels/embedding/embedding.js";
import { linear } from "../kernels/linear/linear.js";
import { rmsNorm } from "../kernels/rms-norm/rms-norm.js";
import { rope } from "../kernels/rope/rope.js";
import { swiglu } from "../kernels/swiglu/swiglu.js";
import type { LlmConfig } from "./config.js";
import type { KvCache, LlmRows } from "./kv-cache.js";
import { type LoadOptions, ParameterLoader, type ParameterSource } from "./parameters.js";
import { type Tap, noTap } from "./taps.js";

export interface Qwen3Layer {
  readonly inputLayernorm: Tensor;
  readonly qProj: Matrix;
  readonly kProj: Matrix;
  readonly vProj: Matrix;
  readonly oProj: Matrix;
  readonly qNorm: Tensor;
  readonly kNorm: Tensor;
  readonly postAttentionLayernorm: Tensor;
  readonly gateProj: Matrix;
  readonly upProj: Matrix;
  readonly downProj: Matrix;
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
  return {
    inputLayernorm: await load.vector(`${name}.input_layernorm.weight`),
    qProj: await load.matrix(`${name}.self_attn.q_proj.weight`),
    kProj: await load.matrix(`${name}.self_attn.k_proj.weight`),
    vProj: await load.matrix(`${name}.self_attn.v_proj.weight`),
    oProj: await load.matrix(`${name}.self_attn.o_proj.weight`),
    qNorm: await load.vector(`${name}.self_attn.q_norm.weight`),
    kNorm: await load.vector(`${name}.self_attn.k_norm.weight`),
    postAttentionLayernorm: await load.vector(`${name}.post_attention_layernorm.weight`),
    gateProj: await load.matrix(`${name}.mlp.gate_proj.weight`),
    upProj: await load.matrix(`${name}.mlp.up_proj.weight`),
    downProj: await load.matrix(`${name}.mlp.down_proj.weight`),
  };
}

export async function loadQwen3(load: ParameterLoader, config: LlmConfig): Promise<Qwen3> {
  const at = "model.language_model";
  const embedTokens = await load.matrix(`${at}.embed_tokens.weight`);
  const layers: Qwen3Layer[] = [];
  for (let i = 0; i < config.layers; i++) layers.push(await loadLayer(load, `${at}.layers.${i}`));
  const norm = await load.vector(`${at}.norm.weight`);
  const lmHead = config.tiedHead ? embedTokens : await load.matrix("lm_head.weight");
  return { config, embedTokens, layers, norm, lmHead };
}

/** Qwen3 without encoder and adaptor, loaded. */
export interface LanguageModel {
  readonly llm: Qwen3;
  /** Gives the weights' GPU memory back. */
  free(): void;
}

/** Puts a language model alone on the GPU. @throws CheckpointError  a parameter is missing; GpuError  memory is out */
export async function loadLanguageModel(
  gpu: Gpu,
  config: LlmConfig,
  source: ParameterSource,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  const load = new ParameterLoader(gpu, source, options);
  try {
    const llm = await loadQwen3(load, config);
    await gpu.finish();
    return { llm, free: () => load.free() };
  } catch (error) {
    load.free();
    throw error;
  }
}

/** Token ids → their embeddings [S, D] f32. @throws ShapeError  an id is outside the vocabulary */
export function embedTokens(gpu: Gpu, w: Qwen3, ids: readonly number[]): Tensor {
  const { vocabSize } = w.config;
  const wild = ids.find((id) => !(id >= 0 && id < vocabSize));
  if (wild !== undefined) {
    throw new ShapeError(`prompt: token ids must lie below the vocabulary's ${vocabSize}, got ${wild}`);
  }
  return embedding(gpu, gpu.upload(new Uint32Array(ids), [ids.length]), w.embedTokens);
}

/** Causal grouped-query attention of the step's rows over their sequences' cache. h [S, D] → [S, heads · headDim] */
function selfAttention(gpu: Gpu, w: Qwen3Layer, h: Tensor, rows: LlmRows, cache: Cache): Tensor {
  const { heads, kvHeads, rmsNormEps } = cache.config;
  const turn = (x: Tensor, norm: Tensor): Tensor => rope(gpu, rmsNorm(gpu, x, norm, rmsNormEps), rows.angles);
  const q = turn(linear(gpu, h, w.qProj), w.qNorm);
  const keys = cached(gpu, turn(linear(gpu, h, w.kProj), w.kNorm), rows, cache.keys);
  const values = cached(gpu, linear(gpu, h, w.vProj), rows, cache.values);
  const { ranges, tiles } = rows;
  return attention(gpu, q, keys, values, { heads, kvHeads, ranges, tiles });
}

/** What attention reads: the cache with the step's rows put in, or those rows alone where the step holds whole sequences. */
function cached(gpu: Gpu, fresh: Tensor, rows: LlmRows, cache: Tensor | undefined): Tensor {
  if (!cache) return fresh;
  copyRows(gpu, fresh, rows.slots, cache);
  return cache;
}

/** One layer's share of the KV cache; without one the step holds whole sequences. */
interface Cache {
  readonly config: LlmConfig;
  readonly keys?: Tensor;
  readonly values?: Tensor;
}

/** x [S, D] → [S, D] f32 */
function decoderLayer(gpu: Gpu, w: Qwen3Layer, x: Tensor, rows: LlmRows, cache: Cache): Tensor {
  const eps = cache.config.rmsNormEps;
  const h = rmsNorm(gpu, x, w.inputLayernorm, eps);
  const r = add(gpu, x, linear(gpu, selfAttention(gpu, w, h, rows, cache), w.oProj));
  const m = rmsNorm(gpu, r, w.postAttentionLayernorm, eps);
  const inner = swiglu(gpu, linear(gpu, m, w.gateProj), linear(gpu, m, w.upProj));
  return add(gpu, r, linear(gpu, inner, w.downProj));
}

/**
 * Embeddings of the step's rows → final hidden states; keys and values go into the cache.
 * @param embeds  [S, D] f32, the rows that `cache.append` placed, or those of `wholeSequences` where there is no cache
 * @returns       [S, D] f32, after the final norm
 * @source transformers Qwen3Model
 */
export function qwen3(
  gpu: Gpu,
  w: Qwen3,
  embeds: Tensor,
  rows: LlmRows,
  cache: KvCache | undefined,
  tap: Tap = noTap,
): Tensor {
  tap("llm.inputs_embeds", embeds);
  const x = gpu.chain(embeds, w.layers, (input, layer, i) => {
    const part = { config: w.config, keys: cache?.keys[i], values: cache?.values[i] };
    const output = decoderLayer(gpu, layer, input, rows, part);
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
