/**
 * y[t] = x[t] · scale + [sin(p f_0), sin(p f_1), ... | cos(p f_0), cos(p f_1), ...], p = t + 1
 * counted within the clip, f_i = 10000^(-i / (width / 2 - 1)).
 * @param x        [rows, width], clips packed
 * @param lengths  rows of each clip
 * @returns        [rows, width] f64
 */
export function positionsRef(
  x: ArrayLike<number>,
  width: number,
  scale: number,
  lengths: readonly number[],
): Float64Array {
  const y = new Float64Array(x.length);
  const half = width / 2;
  let first = 0;
  for (const length of lengths) {
    for (let t = 0; t < length; t++) {
      const at = (first + t) * width;
      for (let i = 0; i < half; i++) {
        const angle = (t + 1) * 10_000 ** (-i / (half - 1));
        y[at + i] = x[at + i] * scale + Math.sin(angle);
        y[at + half + i] = x[at + half + i] * scale + Math.cos(angle);
      }
    }
    first += length;
  }
  return y;
}
