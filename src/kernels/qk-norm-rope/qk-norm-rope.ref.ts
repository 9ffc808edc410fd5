import { rmsNormRef } from "../rms-norm/rms-norm.ref.js";
import { ropeRef } from "../rope/rope.ref.js";

/**
 * A projection's rows as normalised and turned queries, normalised and turned keys, and values.
 * @param qkv        [rows, (heads + 2 · kvHeads) · headDim]
 * @param gammas     [headDim] of queries and of keys
 * @param positions  [rows]
 * @returns          q [rows, heads · headDim], k and v [rows, kvHeads · headDim], f64
 */
export function qkNormRopeRef(
  qkv: ArrayLike<number>,
  gammas: readonly [ArrayLike<number>, ArrayLike<number>],
  positions: readonly number[],
  { kvHeads, eps, theta }: { kvHeads: number; eps: number; theta: number },
): [Float64Array, Float64Array, Float64Array] {
  const all = Float64Array.from(qkv);
  const width = all.length / positions.length;
  const headDim = gammas[0].length;
  const kv = kvHeads * headDim;
  const columns = (from: number, to: number): Float64Array =>
    Float64Array.from(positions.flatMap((_, r) => [...all.subarray(r * width + from, r * width + to)]));
  const turn = (x: Float64Array, gamma: ArrayLike<number>): Float64Array =>
    ropeRef(rmsNormRef(x, gamma, eps), positions, headDim, theta);
  return [
    turn(columns(0, width - 2 * kv), gammas[0]),
    turn(columns(width - 2 * kv, width - kv), gammas[1]),
    columns(width - kv, width),
  ];
}
