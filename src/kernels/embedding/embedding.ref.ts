/**
 * y[r] = table[ids[r]].
 * @param ids    [rows]
 * @param table  [vocabulary, width]
 * @returns      [rows, width] f64
 */
export function embeddingRef(ids: ArrayLike<number>, table: ArrayLike<number>, width: number): Float64Array {
  const y = new Float64Array(ids.length * width);
  for (let r = 0; r < ids.length; r++) {
    for (let c = 0; c < width; c++) y[r * width + c] = table[ids[r] * width + c];
  }
  return y;
}
