/**
 * Sum of each column.
 * @param x  [rows, width]
 * @returns  [width] f64
 */
export function columnSumRef(x: ArrayLike<number>, width: number): Float64Array {
  const y = new Float64Array(width);
  for (let i = 0; i < x.length; i++) y[i % width] += x[i];
  return y;
}
