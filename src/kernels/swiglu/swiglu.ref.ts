/**
 * y = gate / (1 + exp(-gate)) · up, per element.
 * @param gate  [n]
 * @param up    [n]
 * @returns     [n] f64
 */
export function swigluRef(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from(gate, (g, i) => (g / (1 + Math.exp(-g))) * up[i]);
}

/**
 * Gradients of swigluRef: dGate = dy · up · σ · (1 + gate · (1 - σ)), dUp = dy · gate · σ,
 * σ = 1 / (1 + exp(-gate)).
 * @param dy    [n]
 * @param gate  [n]
 * @param up    [n]
 */
export function swigluBackwardRef(
  dy: ArrayLike<number>,
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
): { dGate: Float64Array; dUp: Float64Array } {
  const dGate = new Float64Array(gate.length);
  const dUp = new Float64Array(gate.length);
  for (let i = 0; i < gate.length; i++) {
    const sigma = 1 / (1 + Math.exp(-gate[i]));
    const rest = 1 / (1 + Math.exp(gate[i]));
    dGate[i] = dy[i] * up[i] * sigma * (1 + gate[i] * rest);
    dUp[i] = dy[i] * gate[i] * sigma;
  }
  return { dGate, dUp };
}
