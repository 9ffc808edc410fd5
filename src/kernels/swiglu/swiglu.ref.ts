/**
 * y = gate / (1 + exp(-gate)) · up, per element.
 * @param gate  [n]
 * @param up    [n]
 * @returns     [n] f64
 */
export function swigluRef(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from(gate, (g, i) => (g / (1 + Math.exp(-g))) * up[i]);
}
