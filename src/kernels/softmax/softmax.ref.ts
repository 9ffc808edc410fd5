/**
 * The softmax of each row, of which the first columns are kept, in f64.
 * @param x      [rows, width]
 * @param width  columns of x
 * @param kept   columns of the result
 * @returns      [rows, kept] f64
 */
export function softmaxRef(x: ArrayLike<number>, width: number, kept = width): Float64Array {
  const rows = x.length / width;
  const y = new Float64Array(rows * kept);
  for (let r = 0; r < rows; r++) {
    const row = Array.from({ length: width }, (_, c) => x[r * width + c]);
    const best = Math.max(...row);
    const weights = row.map((value) => Math.exp(value - best));
    const sum = weights.reduce((a, b) => a + b);
    for (let c = 0; c < kept; c++) y[r * kept + c] = weights[c] / sum;
  }
  return y;
}
