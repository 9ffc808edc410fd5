/**
 * y = x / sqrt(mean(x²) + eps) · gamma, over groups of gamma's length.
 * @param x      [groups, width]
 * @param gamma  [width]
 * @returns      [groups, width] f64
 */
export function rmsNormRef(x: ArrayLike<number>, gamma: ArrayLike<number>, eps: number): Float64Array {
  const width = gamma.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    let square = 0;
    for (let i = 0; i < width; i++) square += x[start + i] ** 2 / width;
    for (let i = 0; i < width; i++) y[start + i] = (x[start + i] / Math.sqrt(square + eps)) * gamma[i];
  }
  return y;
}

/**
 * Gradients of rmsNormRef: dx = (a - x̂ · mean(a x̂)) · s with a = dy · gamma, x̂ = x · s; dWeight
 * = Σ over groups of dy · x̂.
 * @param dy     [groups, width]
 * @param x      [groups, width]
 * @param gamma  [width]
 */
export function rmsNormBackwardRef(
  dy: ArrayLike<number>,
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  eps: number,
): { dx: Float64Array; dWeight: Float64Array } {
  const width = gamma.length;
  const dx = new Float64Array(x.length);
  const dWeight = new Float64Array(width);
  for (let start = 0; start < x.length; start += width) {
    let square = 0;
    for (let i = 0; i < width; i++) square += x[start + i] ** 2 / width;
    const scale = 1 / Math.sqrt(square + eps);
    let slope = 0;
    for (let i = 0; i < width; i++) slope += (dy[start + i] * gamma[i] * x[start + i] * scale) / width;
    for (let i = 0; i < width; i++) {
      const normed = x[start + i] * scale;
      dx[start + i] = (dy[start + i] * gamma[i] - normed * slope) * scale;
      dWeight[i] += dy[start + i] * normed;
    }
  }
  return { dx, dWeight };
}
