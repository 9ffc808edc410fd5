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
