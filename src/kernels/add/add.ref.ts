/**
 * y = a + b, per element.
 * @param a  [n]
 * @param b  [n]
 * @returns  [n] f64
 */
export function addRef(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]);
}
