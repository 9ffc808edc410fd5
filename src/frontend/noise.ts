import { lowbias32 } from "../hash.js";

/**
 * A repeatable stream of standard normal numbers: uniforms by the lowbias32 hash of a counter,
 * pairs by Box-Muller.
 * @param seed  u32; equal seeds give equal streams
 * @source G. E. P. Box, M. E. Muller (1958); C. Wellons, "Prospecting for hash functions"
 *         (lowbias32)
 */
export function gaussianNoise(seed: number): () => number {
  const stream = lowbias32(seed >>> 0);
  let counter = 0;
  let spare: number | undefined;
  const uniform = (): number => (lowbias32((stream + counter++) >>> 0) + 0.5) / 2 ** 32; // in (0, 1)
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}
