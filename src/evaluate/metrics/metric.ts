import { EvaluateError } from "./edits.js";
import { sumRows } from "./ngrams.js";

/** The release whose numbers these are; it stands in every signature. */
export const sacrebleuVersion = "2.6.0";

/** One segment: the output of a system, and its references. */
export interface Segment {
  readonly hypothesis: string;
  /** One or more. */
  readonly references: readonly string[];
}

/** A corpus metric whose score is a function of statistics summed over the segments. */
export interface Metric {
  readonly name: string;
  /** sacrebleu's: it states all settings that the score depends on. */
  signature(segments: readonly Segment[]): string;
  /** Statistics of one segment. */
  statistics(segment: Segment): number[];
  /** From summed statistics, 0 to 100 (TER: from 0). */
  score(sums: readonly number[]): number;
}

/** @throws EvaluateError  no segments, or one without a reference */
export function corpusScore(metric: Metric, segments: readonly Segment[]): number {
  return metric.score(sumRows(corpusStatistics(metric, segments)));
}

/**
 * Statistics of each segment, for resampling.
 * @throws EvaluateError  no segments, or one without a reference
 */
export function corpusStatistics(metric: Metric, segments: readonly Segment[]): number[][] {
  if (segments.length === 0)
    throw new EvaluateError(`${metric.name}: expected one segment or more, got none`);
  const bare = segments.findIndex(({ references }) => references.length === 0);
  if (bare >= 0)
    throw new EvaluateError(`${metric.name}: segment ${bare}: expected one reference or more, got none`);
  return segments.map((segment) => metric.statistics(segment));
}

/** The signature's first field: how many references a segment has. */
export function referenceCount(segments: readonly Segment[]): string {
  const counts = new Set(segments.map(({ references }) => references.length));
  return `nrefs:${counts.size === 1 ? [...counts][0] : "var"}`;
}
