import type { Gpu } from "../gpu/device.js";
import type { Matrix } from "../gpu/matrix.js";
import type { Segments } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import { add } from "../kernels/add/add.js";
import { attention } from "../kernels/attention/attention.js";
import { fsmn } from "../kernels/fsmn/fsmn.js";
import { layerNorm } from "../kernels/layer-norm/layer-norm.js";
import { type LinearOptions, linear } from "../kernels/linear/linear.js";
import { type ParameterLoader, all } from "../weights/loader.js";

/** y = x · weightᵀ + bias */
export interface Affine {
  readonly weight: Matrix;
  readonly bias: Tensor;
}

export interface LayerNorm {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/**
 * A SAN-M encoder layer (with an FSMN memory) or an adaptor block (without); named as in the
 * checkpoint.
 */
export interface EncoderLayer {
  readonly inputLayernorm: LayerNorm;
  readonly qProj: Affine;
  readonly kProj: Affine;
  readonly vProj: Affine;
  readonly oProj: Affine;
  /** [D, 1, taps] */
  readonly fsmn?: Tensor;
  readonly postAttentionLayernorm: LayerNorm;
  readonly fc1: Affine;
  readonly fc2: Affine;
}

export async function loadAffine(load: ParameterLoader, name: string): Promise<Affine> {
  return all({ weight: load.matrix(`${name}.weight`), bias: load.vector(`${name}.bias`) });
}

export async function loadLayerNorm(load: ParameterLoader, name: string): Promise<LayerNorm> {
  return all({ weight: load.vector(`${name}.weight`), bias: load.vector(`${name}.bias`) });
}

export async function loadEncoderLayer(
  load: ParameterLoader,
  name: string,
  options: { readonly memory: boolean },
): Promise<EncoderLayer> {
  return all({
    inputLayernorm: loadLayerNorm(load, `${name}.input_layernorm`),
    qProj: loadAffine(load, `${name}.self_attn.q_proj`),
    kProj: loadAffine(load, `${name}.self_attn.k_proj`),
    vProj: loadAffine(load, `${name}.self_attn.v_proj`),
    oProj: loadAffine(load, `${name}.self_attn.o_proj`),
    fsmn: options.memory ? load.vector(`${name}.self_attn.fsmn.conv.weight`) : undefined,
    postAttentionLayernorm: loadLayerNorm(load, `${name}.post_attention_layernorm`),
    fc1: loadAffine(load, `${name}.mlp.fc1`),
    fc2: loadAffine(load, `${name}.mlp.fc2`),
  });
}

/** x [T, D_in] → [T, D_out] f32 */
export function affine(
  gpu: Gpu,
  x: Tensor,
  { weight, bias }: Affine,
  options: Omit<LinearOptions, "bias"> = {},
): Tensor {
  return linear(gpu, x, weight, { bias, ...options });
}

/**
 * Pre-norm bidirectional attention and feed-forward, each clip for itself. x [T, D_in] → [T, D] f32
 * @source transformers FunAsrNanoEncoderLayer
 */
export function encoderLayer(
  gpu: Gpu,
  w: EncoderLayer,
  x: Tensor,
  segments: Segments,
  { heads, layerNormEps }: { readonly heads: number; readonly layerNormEps: number },
): Tensor {
  const norm = (t: Tensor, n: LayerNorm): Tensor => layerNorm(gpu, t, n.weight, n.bias, layerNormEps);
  const h = norm(x, w.inputLayernorm);
  const v = affine(gpu, h, w.vProj);
  const { ranges, tiles } = segments;
  const context = attention(gpu, affine(gpu, h, w.qProj), affine(gpu, h, w.kProj), v, {
    heads,
    ranges,
    tiles,
  });
  const memory = w.fsmn && fsmn(gpu, v, w.fsmn, ranges); // it joins after the output projection
  const residual = x.shape[1] === w.oProj.weight.rows ? x : undefined; // the stem changes width: no residual
  const a = affine(gpu, context, w.oProj, { residual: memory ?? residual });
  const r = memory && residual ? add(gpu, residual, a) : a;
  const inner = affine(gpu, norm(r, w.postAttentionLayernorm), w.fc1, { activation: "relu" });
  return affine(gpu, inner, w.fc2, { residual: r });
}
