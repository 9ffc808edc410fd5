import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("scale/scale", perElement(1));
const threads = 64;

/** y = x · factor, per element. @param x  any shape, f32 */
export function scale(gpu: Gpu, x: Tensor, factor: number): Tensor {
  return draw(gpu, x, factor, 0, 0);
}

/**
 * Drops each element with a probability, and makes up for it by 1 / (1 - probability).
 * @param x            any shape, f32
 * @param probability  from 0 up to, not with, 1
 * @param seed         u32; the same seed drops the same elements
 * @source torch.nn.functional.dropout (with other draws)
 */
export function dropout(gpu: Gpu, x: Tensor, probability: number, seed: number): Tensor {
  if (!(probability >= 0 && probability < 1)) {
    throw new ShapeError(`dropout: probability must be from 0 up to 1, got ${probability}`);
  }
  return draw(gpu, x, 1 / (1 - probability), probability, seed);
}

function draw(gpu: Gpu, x: Tensor, factor: number, probability: number, seed: number): Tensor {
  expectDType("scale", { x }, "f32");
  const y = gpu.empty(x.shape);
  const count = elementCount(x.shape);
  gpu.run(kernel, {
    params: { count, factor, seed, threshold: Math.round(probability * 2 ** 32) },
    tensors: { x, y },
    groups: Math.ceil(count / threads),
    overrides: { WG: threads },
  });
  const { tape } = gpu;
  tape?.record({
    output: y,
    inputs: [x],
    saved: [],
    backward: (dy) => tape.add(x, draw(gpu, dy, factor, probability, seed)),
  });
  return y;
}
