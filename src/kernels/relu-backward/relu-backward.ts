import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount, expectDType, expectShape } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("relu-backward/relu-backward", perElement(1));
const threads = 64;

/**
 * Gradient of ReLU: dy where the output was positive, else 0.
 * @param dy  any shape, f32
 * @param y   the same shape, f32, the output of `linear` with activation "relu"
 * @source torch.autograd of torch.relu
 */
export function reluBackward(gpu: Gpu, dy: Tensor, y: Tensor): Tensor {
  expectShape("reluBackward", { y }, dy.shape);
  expectDType("reluBackward", { dy, y }, "f32");
  const dx = gpu.empty(dy.shape);
  const count = elementCount(dy.shape);
  gpu.run(kernel, {
    params: { count },
    tensors: { dy, y, dx },
    groups: Math.ceil(count / threads),
    overrides: { WG: threads },
  });
  return dx;
}
