import type { Gpu } from "../../gpu/device.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import type { NormBackwardOptions } from "../rms-norm/rms-norm-backward.js";
import { columnSum, columnSumNormed } from "../column-sum/column-sum.js";
import { runLayerNormBackward } from "./variants.js";

export interface LayerNormGradients {
  /** [rows, width] f32 */
  readonly dx: Tensor;
  /** [width] f32, where `weightGrad` asks for it */
  readonly dWeight?: Tensor;
  /** [width] f32, where `weightGrad` asks for it */
  readonly dBias?: Tensor;
}

/**
 * Gradients of `layerNorm` with respect to its input and, if wanted, its weight and bias.
 * @param dy     [rows, width] f32
 * @param x      [rows, width] f32, the input of the forward op
 * @param gamma  [width] f32
 * @source torch.autograd of torch.nn.LayerNorm
 */
export function layerNormBackward(
  gpu: Gpu,
  dy: Tensor,
  x: Tensor,
  gamma: Tensor,
  eps = 1e-5,
  { weightGrad = false, earlier }: NormBackwardOptions = {},
): LayerNormGradients {
  const [rows, width] = expectMatrix("layerNormBackward", { x });
  expectShape("layerNormBackward", { dy, earlier }, x.shape);
  expectShape("layerNormBackward", { gamma }, [width]);
  expectDType("layerNormBackward", { dy, x, gamma }, "f32");
  return gpu.scope(() => {
    const dx = gpu.empty(x.shape);
    const stats = gpu.empty([rows, 4]);
    const tensors = { dy, x, gamma, earlier: earlier ?? x, dx, stats };
    runLayerNormBackward(gpu, { rows, width, params: { has_earlier: earlier ? 1 : 0, eps }, tensors });
    if (!weightGrad) return { dx };
    return { dx, dWeight: columnSumNormed(gpu, dy, x, stats), dBias: columnSum(gpu, dy) };
  });
}
