/**
 * Index of each row's largest element, the lowest where several are equal; 0xffffffff where the row
 * holds a NaN.
 * @param x  [rows, width]
 * @returns  [rows]
 */
export function argmaxRef(x: ArrayLike<number>, width: number): number[] {
  const y: number[] = [];
  for (let start = 0; start < x.length; start += width) {
    let best = 0;
    let hasNaN = false;
    for (let i = 0; i < width; i++) {
      if (x[start + i] > x[start + best]) best = i;
      if (Number.isNaN(x[start + i])) hasNaN = true;
    }
    y.push(hasNaN ? 0xffffffff : best);
  }
  return y;
}
