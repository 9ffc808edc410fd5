const activations = {
  none: (v: number) => v,
  relu: (v: number) => Math.max(v, 0),
};

/**
 * y[r, n] = act(sum over k of x[r, k] · w[n, k], plus bias[n]).
 * @param x        [rows, width]
 * @param w        [columns, width]
 * @param bias     [columns]; none counts as zeros
 * @returns        [rows, columns] f64
 */
export function linearRef(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  width: number,
  bias?: ArrayLike<number>,
  activation: keyof typeof activations = "none",
): Float64Array {
  const rows = x.length / width;
  const columns = w.length / width;
  const y = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let n = 0; n < columns; n++) {
      let sum = bias ? bias[n] : 0;
      for (let k = 0; k < width; k++) sum += x[r * width + k] * w[n * width + k];
      y[r * columns + n] = activations[activation](sum);
    }
  }
  return y;
}

/**
 * Gradients of x · wᵀ.
 * @param dy  [rows, columns]
 * @param x   [rows, width]
 * @param w   [columns, width]
 * @returns   dx[r, k] = Σ dy[r, n] · w[n, k], [rows, width]; dw[n, k] = Σ dy[r, n] · x[r, k],
 *            [columns, width]
 */
export function linearBackwardRef(
  dy: ArrayLike<number>,
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  width: number,
): { dx: Float64Array; dw: Float64Array } {
  const rows = x.length / width;
  const columns = w.length / width;
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(w.length);
  for (let r = 0; r < rows; r++) {
    for (let n = 0; n < columns; n++) {
      const d = dy[r * columns + n];
      for (let k = 0; k < width; k++) {
        dx[r * width + k] += d * w[n * width + k];
        dw[n * width + k] += d * x[r * width + k];
      }
    }
  }
  return { dx, dw };
}
