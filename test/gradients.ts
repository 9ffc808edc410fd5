import { values } from "./gpu.js";

/** Σ a · b in double precision: the loss whose gradient with respect to b is a. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * d loss / dx by central differences in double precision. The error is of the order of step² and of
 * 2^-52 / step, so a reference must agree to 1e-8.
 */
export function centralDifferences(
  loss: (x: Float64Array) => number,
  x: ArrayLike<number>,
  step = 1e-5,
): Float64Array {
  const at = Float64Array.from(x);
  return at.map((value, i) => {
    at[i] = value + step;
    const above = loss(at);
    at[i] = value - step;
    const below = loss(at);
    at[i] = value;
    return (above - below) / (2 * step);
  });
}

/** How far a reference may be from central differences, in relative RMS. */
export const differenceBound = 1e-8;

/** Seeded values in double precision, for the references. */
export const doubles = (count: number, seed: number, offset = 0): Float64Array =>
  Float64Array.from(values(count, seed, offset));
