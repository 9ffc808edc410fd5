/** The sum of values in their order, in f64. */
export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** A list of so many zeros. */
export function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}
