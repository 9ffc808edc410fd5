/**
 * A u32 mixed into another.
 * @source "lowbias32", Chris Wellons, https://nullprogram.com/blog/2018/07/31/
 */
export function lowbias32(x: number): number {
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
