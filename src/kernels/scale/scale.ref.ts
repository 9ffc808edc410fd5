/** An integer hash of u32 values. */
function lowbias32(value: number): number {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d) >>> 0;
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b) >>> 0;
  return (h ^ (h >>> 16)) >>> 0;
}

/** y[i] = x[i] · factor, or 0 where the draw of (seed, i) lies below probability · 2³². */
export function scaleRef(x: ArrayLike<number>, factor: number, probability = 0, seed = 0): Float64Array {
  const stream = lowbias32(seed);
  return Float64Array.from(x, (value, i) =>
    lowbias32(stream + i) < Math.round(probability * 2 ** 32) ? 0 : value * factor,
  );
}
