/**
 * The value at a share of sorted values, halfway between two where it falls between them; NaN of
 * none.
 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** Median, 5th and 95th percentile. */
export interface Spread {
  readonly p5: number;
  readonly median: number;
  readonly p95: number;
}

export function spread(values: readonly number[]): Spread {
  return { p5: quantile(values, 0.05), median: quantile(values, 0.5), p95: quantile(values, 0.95) };
}
