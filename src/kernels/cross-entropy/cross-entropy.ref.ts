/**
 * Loss of each row and the gradient of their sum, label smoothing as torch has it.
 * @param x       [rows, width]
 * @param labels  [rows]
 * @returns       losses [rows], gradient [rows, width], f64
 */
export function crossEntropyRef(
  x: ArrayLike<number>,
  labels: readonly number[],
  width: number,
  smoothing = 0,
): { losses: Float64Array; gradient: Float64Array } {
  const losses = new Float64Array(labels.length);
  const gradient = new Float64Array(x.length);
  for (const [row, label] of labels.entries()) {
    const scores = Array.from({ length: width }, (_, j) => x[row * width + j]);
    const best = scores.reduce((a, b) => Math.max(a, b));
    const total = scores.reduce((sum, score) => sum + Math.exp(score - best), 0);
    const target = (j: number): number => (j === label ? 1 - smoothing : 0) + smoothing / width;
    for (const [j, score] of scores.entries()) {
      const logShare = score - best - Math.log(total);
      losses[row] -= target(j) * logShare;
      gradient[row * width + j] = Math.exp(logShare) - target(j);
    }
  }
  return { losses, gradient };
}
