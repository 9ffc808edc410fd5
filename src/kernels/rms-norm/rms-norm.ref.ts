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
