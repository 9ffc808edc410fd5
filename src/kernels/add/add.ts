import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount, expectDType, expectShape } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("add/add", perElement(1));
const threads = 64;
const each = 8; // elements of a thread: EACH of the kernel

/**
 * y = a + b, per element.
 * @param a  any shape, f32
 * @param b  the same shape, f32
 */
export function add(gpu: Gpu, a: Tensor, b: Tensor): Tensor {
  expectShape("add", { b }, a.shape);
  expectDType("add", { a, b }, "f32");
  const y = gpu.empty(a.shape);
  const count = elementCount(a.shape);
  gpu.run(kernel, {
    params: { count },
    tensors: { a, b, y },
    groups: Math.ceil(count / (threads * each)),
    overrides: { WG: threads },
  });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [a, b],
    saved: [],
    backward: (dy) => {
      tape.add(a, dy);
      tape.add(b, dy);
    },
  });
  return y;
}
