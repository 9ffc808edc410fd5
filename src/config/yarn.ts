/** YaRN: slow pairs of a head turn `factor` times slower; fast pairs keep their frequency. */
export interface YarnScaling {
  readonly factor: number;
  /** Context that the model was trained on, tokens. */
  readonly originalMaxPositions: number;
  /** Multiplies cosines and sines, and so scores by its square. */
  readonly attentionFactor: number;
  /** Pairs that turn more often than this over the original context keep their frequency. */
  readonly betaFast: number;
  /** Pairs that turn less often than this are slowed by the full factor. */
  readonly betaSlow: number;
  /** Rounds the bounds between fast and slow to whole pairs. */
  readonly truncate: boolean;
}

/**
 * Angle per position of each pair, in double precision.
 * @param headDim  even
 * @returns        [headDim / 2] f64: theta^(-2i / headDim), scaled
 * @source transformers `_compute_yarn_parameters`
 */
export function rotaryFrequencies(headDim: number, theta: number, scaling?: YarnScaling): Float64Array {
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** (-(2 * i) / headDim));
  if (!scaling) return plain;
  const [low, high] = yarnRange(headDim, theta, scaling);
  return plain.map((frequency, i) => {
    const slowed = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return (frequency / scaling.factor) * slowed + frequency * (1 - slowed);
  });
}

/** The last pair that keeps its frequency, and the first that is slowed by the full factor. */
function yarnRange(headDim: number, theta: number, scaling: YarnScaling): [low: number, high: number] {
  const { originalMaxPositions, betaFast, betaSlow, truncate } = scaling;
  // the pair that turns this many times over the original context
  const pair = (turns: number): number =>
    (headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const fast = pair(betaFast);
  const slow = pair(betaSlow);
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, headDim - 1);
  return [low, low === high ? high + 0.001 : high];
}
