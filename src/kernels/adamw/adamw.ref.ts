import type { AdamWOptions } from "./adamw.js";

/**
 * One update of every element, in place, in f64.
 * @param x, m, v   [n]
 * @param gradient  [n], after clipping
 */
export function adamwRef(
  x: Float64Array,
  m: Float64Array,
  v: Float64Array,
  gradient: ArrayLike<number>,
  { learningRate, step, beta1, beta2, eps, decay }: AdamWOptions,
): void {
  for (let i = 0; i < x.length; i++) {
    m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
    v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] ** 2;
    const mean = m[i] / (1 - beta1 ** step);
    const square = v[i] / (1 - beta2 ** step);
    x[i] -= learningRate * decay * x[i] + (learningRate * mean) / (Math.sqrt(square) + eps);
  }
}
