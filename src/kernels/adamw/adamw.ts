import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, elementCount, expectDType, expectShape } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("adamw/adamw", perElement(14));
const threads = 64;

export interface AdamWOptions {
  readonly learningRate: number;
  /** Of this update, from 1. */
  readonly step: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** Decoupled: the weight shrinks by learningRate · decay. */
  readonly decay: number;
}

/** What AdamW keeps of one parameter; all of one shape, f32. */
export interface AdamWState {
  readonly value: Tensor;
  readonly gradient: Tensor;
  /** First moment. */
  readonly m: Tensor;
  /** Second moment. */
  readonly v: Tensor;
}

/**
 * Updates a parameter and its moments in place and zeroes its gradient.
 * @param clip  [2] f32 of `gradNorm`: the gradient is multiplied by clip[1]; nothing changes where
 *              that is negative
 * @throws ShapeError  a step below 1, shapes that differ
 * @source torch.optim.AdamW
 */
export function adamw(
  gpu: Gpu,
  { value: x, gradient, m, v }: AdamWState,
  clip: Tensor,
  o: AdamWOptions,
): void {
  expectShape("adamw", { gradient, m, v }, x.shape);
  expectShape("adamw", { clip }, [2]);
  expectDType("adamw", { value: x, gradient, m, v, clip }, "f32");
  if (!(Number.isInteger(o.step) && o.step >= 1))
    throw new ShapeError(`adamw: step must be a whole number from 1, got ${o.step}`);
  const count = elementCount(x.shape);
  gpu.run(kernel, {
    params: {
      count,
      shrink: 1 - o.learningRate * o.decay,
      step: o.learningRate / (1 - o.beta1 ** o.step),
      root: Math.sqrt(1 - o.beta2 ** o.step),
      take1: 1 - o.beta1,
      keep2: o.beta2,
      take2: 1 - o.beta2,
      eps: o.eps,
    },
    tensors: { clip, gradient, m, v, x },
    groups: Math.ceil(count / threads),
    overrides: { WG: threads },
  });
}
