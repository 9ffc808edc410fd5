/**
 * dx = dy where y > 0, else 0.
 * @param dy  [n]
 * @param y   [n], output of ReLU
 * @returns   [n] f64
 */
export function reluBackwardRef(dy: ArrayLike<number>, y: ArrayLike<number>): Float64Array {
  return Float64Array.from(dy, (value, i) => (y[i] <= 0 ? 0 : value));
}
