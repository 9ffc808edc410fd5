/**
 * Seeded uniform numbers in [0, 1) with 53 random bits: xoshiro128**, its state filled by a 32-bit
 * mixer. The same seed gives the same numbers on every machine; they are not torch's.
 * @param seed  0 to 2^53 - 1
 * @source Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021
 */
export function uniformNumbers(seed: number): () => number {
  let mixer = (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1);
  const mixed = (): number => {
    mixer = (mixer + 0x9e3779b9) | 0;
    let x = mixer ^ (mixer >>> 16);
    x = Math.imul(x, 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    return x ^ (x >>> 16);
  };
  let [a, b, c, d] = [mixed(), mixed(), mixed(), mixed()];
  const next = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result >>> 0;
  };
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}
