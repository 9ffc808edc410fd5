import { elementCount } from "../shape.js";
import { type StageResult, boundOf, errorFloor, stageBound } from "./compare.js";

/**
 * A stage of fewer values is small: its own ratio is noise. The values of a row share rounding (its
 * norm's mean and scale). The logarithm of the ratio has a deviation of 0.27 in one row of 40
 * values, of 0.13 in one of 256 (golden/spread.py, 12 seeds): the median 0.81 reaches 1.5 at 2.3
 * deviations in the first, at 4.7 in the second.
 */
export const smallStage = 256;
/** The most that a small stage's own ratio may be: 0.81 reaches it at 4.8 deviations of 0.27. */
export const smallBound = 3;

/** A stage of few values that the bound of the forward pass judges. */
function isSmall({ stage, shape, torchError, ratio, problem, judged }: StageResult): boolean {
  if (boundOf(stage) !== stageBound || judged === false || problem !== undefined) return false;
  return elementCount(shape) < smallStage && Number.isFinite(ratio) && Number.isFinite(torchError);
}

/** Error over PyTorch's, of all values of these stages together, and how many they are. */
function pooled(stages: readonly StageResult[]): { ratio: number; values: number } {
  let ours = 0;
  let torch = 0;
  let values = 0;
  for (const { shape, error, torchError } of stages) {
    const count = elementCount(shape);
    ours += count * error ** 2;
    torch += count * Math.max(torchError, errorFloor) ** 2;
    values += count;
  }
  return { ratio: Math.sqrt(ours / torch), values };
}

/**
 * Judges the small stages that fail alone, at most 3 times PyTorch's error, by all small stages of
 * `pool` together: at most 1.5 times. Every other verdict stays.
 * @param pool  the stages of one bundle, or those of a run's bundles of one kind. Default:
 *              `results`
 */
export function judgeSmall<T extends StageResult>(
  results: readonly T[],
  pool: readonly StageResult[] = results,
): T[] {
  const { ratio, values } = pooled(pool.filter(isSmall));
  return results.map((result) => {
    if (result.ok || !isSmall(result) || result.ratio > smallBound || !(ratio <= stageBound)) return result;
    const reason = `few values: ${ratio.toFixed(2)} over the ${values} of all small stages`;
    return { ...result, ok: true, reason };
  });
}

/**
 * Whether all float stages of a run are small: their median ratio is noise too, and no bound is for
 * it.
 */
export function isAllSmall(results: readonly StageResult[]): boolean {
  const floats = results.filter(({ torchError }) => torchError !== 0);
  return floats.length > 0 && floats.every(isSmall) && pooled(floats).ratio <= stageBound;
}
