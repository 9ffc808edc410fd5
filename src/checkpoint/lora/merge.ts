/** A low-rank addition's values. */
export interface LowRankValues {
  /** [rank, columns] */
  readonly a: Float32Array;
  /** [rows, rank] */
  readonly b: Float32Array;
  readonly rank: number;
  readonly scale: number;
  /** DoRA: [rows], the length of each merged row. */
  readonly magnitude?: Float32Array;
}

/**
 * Rows of a weight with its low-rank addition: w + scale · b · a, summed in double precision and
 * rounded once to f32. With a magnitude, each row is scaled to that length before rounding. A row
 * depends only on the same row of the weight.
 * @param weight  [n, columns] f32, rows `first` to `first` + n
 * @returns       [n, columns] f32
 * @source peft `lora.Linear.merge`, `lora.dora.DoraLinearLayer`
 */
export function mergedRows(
  weight: Float32Array,
  first: number,
  { a, b, rank, scale, magnitude }: LowRankValues,
): Float32Array<ArrayBuffer> {
  const columns = a.length / rank;
  const rows = weight.length / columns;
  const merged = new Float32Array(weight.length);
  const sum = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sum.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = b[(first + row) * rank + r];
      for (let k = 0; k < columns; k++) sum[k] += factor * a[r * columns + k];
    }
    for (let k = 0; k < columns; k++) sum[k] = weight[row * columns + k] + scale * sum[k];
    const stretch = magnitude ? magnitude[first + row] / length(sum) : 1;
    for (let k = 0; k < columns; k++) merged[row * columns + k] = stretch * sum[k];
  }
  return merged;
}

function length(values: Float64Array): number {
  let squares = 0;
  for (const value of values) squares += value * value;
  return Math.sqrt(squares);
}
