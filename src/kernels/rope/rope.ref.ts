/**
 * Each pair (x[i], x[i + headDim / 2]) of a head turned by position · theta^(-2i / headDim).
 * @param x          [rows, heads · headDim]
 * @param positions  [rows]
 * @returns          [rows, heads · headDim] f64
 */
export function ropeRef(
  x: ArrayLike<number>,
  positions: readonly number[],
  headDim: number,
  theta: number,
): Float64Array {
  const y = new Float64Array(x.length);
  const half = headDim / 2;
  const width = x.length / positions.length;
  for (const [row, position] of positions.entries()) {
    for (let head = row * width; head < (row + 1) * width; head += headDim) {
      for (let i = 0; i < half; i++) {
        const angle = position / theta ** ((2 * i) / headDim);
        const a = x[head + i];
        const b = x[head + half + i];
        y[head + i] = a * Math.cos(angle) - b * Math.sin(angle);
        y[head + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
      }
    }
  }
  return y;
}

/**
 * Gradient of ropeRef: every pair turned back by its angle.
 * @param dy         [rows, heads · headDim]
 * @param positions  [rows]
 * @returns          [rows, heads · headDim] f64
 */
export function ropeBackwardRef(
  dy: ArrayLike<number>,
  positions: readonly number[],
  headDim: number,
  theta: number,
): Float64Array {
  const opposite = positions.map((position) => -position);
  return ropeRef(dy, opposite, headDim, theta);
}
