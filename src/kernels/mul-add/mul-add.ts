import type { Gpu } from "../../gpu/device.js";
import { type Tensor, elementCount, expectShape } from "../../gpu/tensor.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("mul-add/mul-add", ({ rounds, count }) => ({ flops: 128 * rounds * count }));
const threads = 64;

/** Multiplications with an addition of an element and round. */
export const mulAddTerms = 64;

/**
 * y[i] = Σ over 16 sums that begin at i, i + 1, ..., each `4 · rounds` times multiplied by b and
 * added c to: work from registers alone.
 * @param factors  [2] f32: b and c
 * @param y        [n] f32, overwritten
 * @throws ShapeError  the factors are not two
 */
export function mulAdd(gpu: Gpu, factors: Tensor, y: Tensor, rounds: number): void {
  expectShape("mulAdd", { factors }, [2]);
  const count = elementCount(y.shape);
  gpu.run(kernel, {
    params: { rounds, count },
    tensors: { factors, y },
    groups: Math.ceil(count / threads),
    overrides: { WG: threads },
  });
}
