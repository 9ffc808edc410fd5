import { uniformNumbers } from "../../random.js";
import { EvaluateError } from "./edits.js";
import { sumRows } from "./ngrams.js";
import { sum } from "../../arrays.js";

/** A score and the range that 95 % of the resamples fall into. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

export interface BootstrapOptions {
  /** Default: 1000. */
  readonly resamples?: number;
  /** Default: 12345. */
  readonly seed?: number;
}

/** The difference of two systems over the same utterances. */
export interface PairedResult extends Interval {
  /** Score of the second minus score of the first. */
  readonly difference: number;
  /** Chance of a difference at least as large, either way, if the systems were equal. */
  readonly p: number;
}

type Statistics = readonly (readonly number[])[];
type Score = (sums: readonly number[]) => number;

/**
 * 95 % interval of a score, by drawing utterances with replacement; the same seed gives the same
 * interval.
 * @param statistics  one row an utterance, whose sum over utterances `score` takes
 */
export function bootstrap(statistics: Statistics, score: Score, options: BootstrapOptions = {}): Interval {
  const scores = draws(statistics.length, options).map((rows) =>
    score(sumRows(rows.map((i) => statistics[i]))),
  );
  return middle95(scores);
}

/**
 * Compares two systems over the same utterances by paired bootstrap resampling.
 * @throws EvaluateError  the systems have different numbers of utterances
 * @source Koehn, 2004; p as in sacrebleu's paired test, over the resamples' differences shifted to
 *         a mean of zero
 */
export function pairedBootstrap(
  first: Statistics,
  second: Statistics,
  score: Score,
  options: BootstrapOptions = {},
): PairedResult {
  if (first.length !== second.length)
    throw new EvaluateError(
      `compare: expected as many utterances of both, got ${first.length} and ${second.length}`,
    );
  const of = (rows: Statistics): number => score(sumRows(rows));
  const difference = of(second) - of(first);
  const differences = draws(first.length, options).map(
    (rows) => of(rows.map((i) => second[i])) - of(rows.map((i) => first[i])),
  );
  const finite = differences.filter(Number.isFinite);
  const mean = sum(finite) / finite.length;
  const far = finite.filter((value) => Math.abs(value - mean) >= Math.abs(difference)).length;
  return { difference, ...middle95(differences), p: (far + 1) / (finite.length + 1) };
}

/** Utterances of each resample. */
function draws(count: number, { resamples = 1000, seed = 12345 }: BootstrapOptions): number[][] {
  const next = uniformNumbers(seed);
  return Array.from({ length: resamples }, () =>
    Array.from({ length: count }, () => Math.floor(next() * count)),
  );
}

/** A fortieth of the scores left out at either end; NaN where no score is a number. */
function middle95(scores: readonly number[]): Interval {
  const sorted = scores.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return { low: NaN, high: NaN };
  const cut = Math.floor(sorted.length / 40);
  return { low: sorted[cut], high: sorted[sorted.length - 1 - cut] };
}
