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
