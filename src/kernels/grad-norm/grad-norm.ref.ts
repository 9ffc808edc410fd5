/**
 * L2 norm over all tensors together, and what clipping to `maxNorm` multiplies them by; maxNorm 0
 * is off.
 * @param gradients  any lengths
 * @returns          squares: each tensor's sum of squares; norm; coefficient min(1, maxNorm / (norm
 *                   + 1e-6))
 */
export function gradNormRef(
  gradients: readonly ArrayLike<number>[],
  maxNorm: number,
): { squares: number[]; norm: number; coefficient: number } {
  const squares = gradients.map((g) => Array.from(g).reduce((sum, value) => sum + value * value, 0));
  const norm = Math.sqrt(squares.reduce((a, b) => a + b, 0));
  return { squares, norm, coefficient: maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1 };
}
