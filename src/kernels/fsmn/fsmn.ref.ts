/**
 * y[t, c] = v[t, c] + sum over j of v[t + j - left, c] · w[c, j]; rows outside the clip count as zero, left = floor((taps - 1) / 2).
 * @param v        [rows, width], clips packed
 * @param w        [width, taps]
 * @param width    channels
 * @param lengths  rows of each clip
 * @returns        [rows, width] f64
 */
export function fsmnRef(
  v: ArrayLike<number>,
  w: ArrayLike<number>,
  width: number,
  lengths: readonly number[],
): Float64Array {
  const taps = w.length / width;
  const left = Math.floor((taps - 1) / 2);
  const y = Float64Array.from(v);
  let first = 0;
  for (const length of lengths) {
    for (let t = 0; t < length; t++) {
      for (let j = 0; j < taps; j++) {
        const source = t + j - left;
        if (source < 0 || source >= length) continue;
        for (let c = 0; c < width; c++) {
          y[(first + t) * width + c] += v[(first + source) * width + c] * w[c * taps + j];
        }
      }
    }
    first += length;
  }
  return y;
}
