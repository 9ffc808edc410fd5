/** Number of earlier gradient norms that a new one is compared with. */
export const normWindow = 50;
const normFactor = 20;
const cosineLimit = 0.98;

/** The option that sets the learning rate of a stage. */
export type RateOption = "--align-lr" | "--lr";

/**
 * A gradient norm far above the median of the latest ones; undefined where it is not, or while
 * there are too few.
 */
export function normAlarm(
  norms: readonly number[],
  norm: number,
  rateOption: RateOption,
): string | undefined {
  if (norms.length < normWindow / 2) return undefined;
  const median = [...norms].sort((a, b) => a - b)[norms.length >> 1];
  if (norm <= normFactor * median) return undefined;
  return `gradient norm ${norm.toPrecision(3)} is ${(norm / median).toFixed(0)} times the median of the last ${norms.length} steps; lower ${rateOption} or --clip`;
}

/** Adaptor outputs that nearly all have one direction: all audio is alike to the LLM. */
export function collapseAlarm(cosine: number, rateOption: RateOption): string | undefined {
  if (!(cosine > cosineLimit)) return undefined;
  return `adaptor outputs have a mean pairwise cosine of ${cosine.toFixed(4)}: they have collapsed; lower ${rateOption}, or begin again with another --seed`;
}

/**
 * Mean cosine over all pairs of different rows, from the sum s of the unit rows: (s·s - n) / (n (n
 * - 1)). Zero rows count as orthogonal to all.
 * @param rows   [n, width]
 * @returns      in [-1, 1]; 0 for a single row; NaN where the rows hold one
 */
export function meanPairwiseCosine(rows: ArrayLike<number>, width: number): number {
  const count = rows.length / width;
  if (count < 2) return 0;
  const sum = new Float64Array(width);
  let units = 0;
  for (let r = 0; r < count; r++) {
    let square = 0;
    for (let i = 0; i < width; i++) square += rows[r * width + i] ** 2;
    if (square === 0) continue;
    units++;
    const scale = 1 / Math.sqrt(square);
    for (let i = 0; i < width; i++) sum[i] += rows[r * width + i] * scale;
  }
  const square = sum.reduce((total, value) => total + value * value, 0);
  return (square - units) / (count * (count - 1));
}
