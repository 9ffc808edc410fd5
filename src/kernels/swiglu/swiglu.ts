import type { Gpu } from "../../gpu/device.js";
import { loadKernel } from "../../gpu/kernel.js";
import { type Tensor, elementCount, expectDType, expectShape } from "../../gpu/tensor.js";
import { swigluBackward } from "./swiglu-backward.js";

const kernel = loadKernel("swiglu/swiglu");
const threads = 64;

/**
 * y = silu(gate) · up, per element.
 * @param gate  any shape, f32
 * @param up    the same shape, f32
 * @source transformers Qwen3MLP
 */
export function swiglu(gpu: Gpu, gate: Tensor, up: Tensor): Tensor {
  expectShape("swiglu", { up }, gate.shape);
  expectDType("swiglu", { gate, up }, "f32");
  const y = gpu.empty(gate.shape);
  const count = elementCount(gate.shape);
  gpu.run(kernel, {
    params: { count },
    tensors: { gate, up, y },
    groups: Math.ceil(count / threads),
    overrides: { WG: threads },
  });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [gate, up],
    saved: [gate, up],
    backward: (dy) => {
      const { dGate, dUp } = swigluBackward(gpu, dy, gate, up);
      tape.add(gate, dGate);
      tape.add(up, dUp);
    },
  });
  return y;
}
