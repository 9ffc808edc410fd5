import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount, expectDType, expectShape } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("swiglu/swiglu-backward", perElement(10));
const threads = 64;
const each = 8; // elements of a thread: EACH of the kernel

/**
 * Gradients of `swiglu` with respect to both inputs.
 * @param dy    any shape, f32
 * @param gate  the same shape, f32, the input of the forward op
 * @param up    the same shape, f32, the input of the forward op
 * @returns     two tensors of that shape, f32
 * @source torch.autograd of transformers Qwen3MLP
 */
export function swigluBackward(
  gpu: Gpu,
  dy: Tensor,
  gate: Tensor,
  up: Tensor,
): { readonly dGate: Tensor; readonly dUp: Tensor } {
  expectShape("swigluBackward", { dy, up }, gate.shape);
  expectDType("swigluBackward", { dy, gate, up }, "f32");
  const dGate = gpu.empty(gate.shape);
  const dUp = gpu.empty(gate.shape);
  const count = elementCount(gate.shape);
  gpu.run(kernel, {
    params: { count },
    tensors: { dy, gate, up, d_gate: dGate, d_up: dUp },
    groups: Math.ceil(count / (threads * each)),
    overrides: { WG: threads },
  });
  return { dGate, dUp };
}
