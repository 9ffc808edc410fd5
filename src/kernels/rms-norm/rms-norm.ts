import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectMatrix } from "../../gpu/tensor.js";
import { rmsNormBackward } from "./rms-norm-backward.js";
import { runRmsNorm } from "./variants.js";

/**
 * y = x / sqrt(mean(x²) + eps) · gamma over groups of gamma's length: whole rows, or each head of a
 * row.
 * @param x      [rows, heads · width] f32
 * @param gamma  [width] f32
 * @returns      [rows, heads · width] f32
 * @throws ShapeError  a row is not a whole number of groups
 * @source transformers Qwen3RMSNorm
 */
export function rmsNorm(gpu: Gpu, x: Tensor, gamma: Tensor, eps = 1e-6): Tensor {
  const [, columns] = expectMatrix("rmsNorm", { x });
  expectDType("rmsNorm", { x, gamma }, "f32");
  const width = elementCount(gamma.shape);
  if (columns % width !== 0) {
    throw new ShapeError(`rmsNorm: gamma must have a length that divides ${columns}, got ${width}`);
  }
  const rows = elementCount(x.shape) / width;
  const y = gpu.empty(x.shape);
  runRmsNorm(gpu, { rows, width, params: { eps }, tensors: { x, gamma, y } });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [x, gamma],
    saved: [x],
    backward: (dy) => {
      const weightGrad = tape.wants(gamma);
      const make = (earlier?: Tensor): Tensor => {
        const { dx, dWeight } = rmsNormBackward(gpu, dy, x, gamma, eps, { weightGrad, earlier });
        tape.add(gamma, dWeight);
        return dx;
      };
      if (tape.wants(x)) tape.accumulate(x, make);
      else make();
    },
  });
  return y;
}
