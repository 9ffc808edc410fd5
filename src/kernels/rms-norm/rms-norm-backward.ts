import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { columnSumNormed } from "../column-sum/column-sum.js";
import { runRmsNormBackward } from "./variants.js";

export interface NormBackwardOptions {
  /** Whether the gradients of the parameters are wanted. */
  readonly weightGrad?: boolean;
  /** Shape of x, f32: another gradient of x, added to dx. */
  readonly earlier?: Tensor;
}

export interface RmsNormGradients {
  /** [rows, heads · width] f32 */
  readonly dx: Tensor;
  /** [width] f32, where `weightGrad` asks for it */
  readonly dWeight?: Tensor;
}

/**
 * Gradients of `rmsNorm` with respect to its input and, if wanted, its weight.
 * @param dy     [rows, heads · width] f32
 * @param x      [rows, heads · width] f32, the input of the forward op
 * @param gamma  [width] f32
 * @throws ShapeError  a row is not a whole number of groups
 * @source torch.autograd of transformers Qwen3RMSNorm
 */
export function rmsNormBackward(
  gpu: Gpu,
  dy: Tensor,
  x: Tensor,
  gamma: Tensor,
  eps = 1e-6,
  { weightGrad = false, earlier }: NormBackwardOptions = {},
): RmsNormGradients {
  const [, columns] = expectMatrix("rmsNormBackward", { x });
  expectShape("rmsNormBackward", { dy }, x.shape);
  expectDType("rmsNormBackward", { dy, x, gamma }, "f32");
  expectShape("rmsNormBackward", { earlier }, x.shape);
  const width = elementCount(gamma.shape);
  if (columns % width !== 0) {
    throw new ShapeError(`rmsNormBackward: gamma must have a length that divides ${columns}, got ${width}`);
  }
  const rows = elementCount(x.shape) / width;
  return gpu.scope(() => {
    const dx = gpu.empty(x.shape);
    const stats = gpu.empty([rows, 4]);
    const tensors = { dy, x, gamma, earlier: earlier ?? x, dx, stats };
    runRmsNormBackward(gpu, { rows, width, params: { has_earlier: earlier ? 1 : 0, eps }, tensors });
    return weightGrad ? { dx, dWeight: columnSumNormed(gpu, dy, x, stats) } : { dx };
  });
}
