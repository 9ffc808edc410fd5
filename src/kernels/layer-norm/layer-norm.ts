import type { Gpu } from "../../gpu/device.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { layerNormBackward } from "./layer-norm-backward.js";
import { runLayerNorm } from "./variants.js";

/**
 * y = (x - mean) / sqrt(var + eps) · gamma + beta, per row.
 * @param x      [rows, width] f32
 * @param gamma  [width] f32
 * @param beta   [width] f32
 * @returns      [rows, width] f32
 * @source torch.nn.LayerNorm
 */
export function layerNorm(gpu: Gpu, x: Tensor, gamma: Tensor, beta: Tensor, eps = 1e-5): Tensor {
  const [rows, width] = expectMatrix("layerNorm", { x });
  expectDType("layerNorm", { x, gamma, beta }, "f32");
  expectShape("layerNorm", { gamma, beta }, [width]);
  const y = gpu.empty(x.shape);
  const tensors = { x, gamma, beta, y };
  runLayerNorm(gpu, { rows, width, params: { eps }, tensors });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [x, gamma, beta],
    saved: [x],
    backward: (dy) => {
      const weightGrad = tape.wants(gamma) || tape.wants(beta);
      const make = (earlier?: Tensor): Tensor => {
        const { dx, dWeight, dBias } = layerNormBackward(gpu, dy, x, gamma, eps, { weightGrad, earlier });
        tape.add(gamma, dWeight);
        tape.add(beta, dBias);
        return dx;
      };
      if (tape.wants(x)) tape.accumulate(x, make);
      else make();
    },
  });
  return y;
}
