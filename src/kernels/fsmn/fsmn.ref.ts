/**
 * y[t, c] = v[t, c] + sum over j of v[t + j - left, c] · w[c, j]; rows outside the clip count as
 * zero.
 * @param v        [rows, width], clips packed
 * @param w        [width, taps]
 * @param width    channels
 * @param lengths  rows of each clip
 * @param left     rows before a row that the taps reach
 * @returns        [rows, width] f64
 */
export function fsmnRef(
  v: ArrayLike<number>,
  w: ArrayLike<number>,
  width: number,
  lengths: readonly number[],
  left = (w.length / width - 1) >> 1,
): Float64Array {
  const taps = w.length / width;
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

/**
 * Gradients of fsmnRef: every product dy[t, c] · w[c, j] goes to the row that was read, every
 * dy[t, c] · v[source, c] to the tap.
 * @param dy       [rows, width]
 * @param v        [rows, width], clips packed
 * @param w        [width, taps]
 * @param width    channels
 * @param lengths  rows of each clip
 * @param left     rows before a row that the taps reach
 * @returns        dx [rows, width] and dWeight [width, taps] f64
 */
export function fsmnBackwardRef(
  dy: ArrayLike<number>,
  v: ArrayLike<number>,
  w: ArrayLike<number>,
  width: number,
  lengths: readonly number[],
  left = (w.length / width - 1) >> 1,
): { dx: Float64Array; dWeight: Float64Array } {
  const taps = w.length / width;
  const dx = Float64Array.from(dy);
  const dWeight = new Float64Array(w.length);
  let first = 0;
  for (const length of lengths) {
    for (let t = 0; t < length; t++) {
      for (let j = 0; j < taps; j++) {
        const source = t + j - left;
        if (source < 0 || source >= length) continue;
        for (let c = 0; c < width; c++) {
          const gradient = dy[(first + t) * width + c];
          dx[(first + source) * width + c] += gradient * w[c * taps + j];
          dWeight[c * taps + j] += gradient * v[(first + source) * width + c];
        }
      }
    }
    first += length;
  }
  return { dx, dWeight };
}
