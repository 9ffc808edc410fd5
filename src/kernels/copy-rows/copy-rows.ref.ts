/**
 * A copy of `into` where into[target] = source[row] for every pair (row, target).
 * @param source  [source rows, width]
 * @param pairs   source row and target row
 * @param into    [target rows, width]
 * @returns       [target rows, width] f64
 */
export function copyRowsRef(
  source: ArrayLike<number>,
  pairs: readonly (readonly [number, number])[],
  into: ArrayLike<number>,
  width: number,
): Float64Array {
  const y = Float64Array.from(into);
  for (const [row, target] of pairs) {
    for (let c = 0; c < width; c++) y[target * width + c] = source[row * width + c];
  }
  return y;
}

/**
 * Gradient of copyRowsRef with respect to the source: dx[row] = Σ of dy[target] over the pairs
 * (row, target).
 * @param dy     [target rows, width]
 * @param pairs  source row and target row; target rows differ
 * @param rows   rows of the source
 * @returns      [rows, width] f64
 */
export function copyRowsBackwardRef(
  dy: ArrayLike<number>,
  pairs: readonly (readonly [number, number])[],
  rows: number,
  width: number,
): Float64Array {
  const dx = new Float64Array(rows * width);
  for (const [row, target] of pairs) {
    for (let c = 0; c < width; c++) dx[row * width + c] += dy[target * width + c];
  }
  return dx;
}
