/**
 * y = (x - mean) / sqrt(var + eps) · gamma + beta, per row; var divides by the width.
 * @param x      [rows, width]
 * @param gamma  [width]
 * @param beta   [width]
 * @returns      [rows, width] f64
 */
export function layerNormRef(
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  beta: ArrayLike<number>,
  eps: number,
): Float64Array {
  const width = gamma.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    let mean = 0;
    for (let i = 0; i < width; i++) mean += x[start + i] / width;
    let variance = 0;
    for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2 / width;
    for (let i = 0; i < width; i++) {
      y[start + i] = ((x[start + i] - mean) / Math.sqrt(variance + eps)) * gamma[i] + beta[i];
    }
  }
  return y;
}

/**
 * Gradients of layerNormRef: dx = (a - mean(a) - x̂ · mean(a x̂)) · s with a = dy · gamma, x̂ = (x
 * - mean) · s; dWeight = Σ over rows of dy · x̂; dBias = Σ over rows of dy.
 * @param dy     [rows, width]
 * @param x      [rows, width]
 * @param gamma  [width]
 */
export function layerNormBackwardRef(
  dy: ArrayLike<number>,
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  eps: number,
): { dx: Float64Array; dWeight: Float64Array; dBias: Float64Array } {
  const width = gamma.length;
  const dx = new Float64Array(x.length);
  const dWeight = new Float64Array(width);
  const dBias = new Float64Array(width);
  for (let start = 0; start < x.length; start += width) {
    let mean = 0;
    for (let i = 0; i < width; i++) mean += x[start + i] / width;
    let variance = 0;
    for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + eps);
    let level = 0;
    let slope = 0;
    for (let i = 0; i < width; i++) {
      const a = dy[start + i] * gamma[i];
      level += a / width;
      slope += (a * (x[start + i] - mean) * scale) / width;
    }
    for (let i = 0; i < width; i++) {
      const normed = (x[start + i] - mean) * scale;
      dx[start + i] = (dy[start + i] * gamma[i] - level - normed * slope) * scale;
      dWeight[i] += dy[start + i] * normed;
      dBias[i] += dy[start + i];
    }
  }
  return { dx, dWeight, dBias };
}
