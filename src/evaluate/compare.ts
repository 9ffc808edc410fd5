import { type BootstrapOptions, type PairedResult, pairedBootstrap } from "./metrics/bootstrap.js";
import type { ErrorUnit } from "./metrics/cer.js";
import { EvaluateError } from "./metrics/edits.js";
import { corpusStatistics } from "./metrics/metric.js";
import { sumRows } from "./metrics/ngrams.js";
import { referenceEdits } from "./recordings/answers.js";
import { type SegmentTimes, segmentTimes } from "./recordings/times.js";
import { type Heard, type UtteranceRecord, isFailed } from "./record.js";
import {
  type SummaryOptions,
  editRatio,
  editRow,
  rateSignature,
  segmentOf,
  translationMetrics,
} from "./summary.js";

/** One metric of two systems over the utterances that both could run. */
export interface Compared extends PairedResult {
  readonly name: string;
  readonly first: number;
  readonly second: number;
  readonly signature: string;
  /** What a rate counts, or "ms" of errors of times; absent: a score of translations. */
  readonly unit?: ErrorUnit | "second" | "ms";
}

export interface Comparison {
  readonly utterances: number;
  /** Could not be run by the one, the other or both, or are missing of one. */
  readonly left: number;
  readonly metrics: readonly Compared[];
}

type Rows = readonly (readonly number[])[];

/**
 * Compares two systems' records of the same data.
 * @throws EvaluateError  no utterance that both could run, utterances of the same line with other
 *                        references, other tasks
 */
export function compareRecords(
  first: ReadonlyMap<number, UtteranceRecord>,
  second: ReadonlyMap<number, UtteranceRecord>,
  options: Omit<SummaryOptions, "task"> = {},
): Comparison {
  const pairs: [Heard, Heard][] = [];
  for (const [line, a] of first) {
    const b = second.get(line);
    if (!b || isFailed(a) || isFailed(b)) continue;
    if (a.reference !== b.reference || a.task !== b.task)
      throw new EvaluateError(
        `compare: line ${line}: expected the same task and reference of both, got ${a.task} "${a.reference}" and ${b.task} "${b.reference}"`,
      );
    if (JSON.stringify(a.referenceSegments) !== JSON.stringify(b.referenceSegments))
      throw new EvaluateError(
        `compare: line ${line}: expected the same segments of the reference in both, got others; evaluate both with one --data`,
      );
    pairs.push([a, b]);
  }
  if (pairs.length === 0)
    throw new EvaluateError("compare: expected utterances that both could run, got none");
  const utterances = pairs.length;
  const all = new Set([...first.keys(), ...second.keys()]).size;
  const scores = pairs[0][0].task === "asr" ? compareRates(pairs, options) : compareScores(pairs, options);
  return { utterances, left: all - utterances, metrics: [...scores, ...compareTimes(pairs, options)] };
}

function compareOne(
  name: string,
  [first, second]: readonly [Rows, Rows],
  score: (sums: readonly number[]) => number,
  options: BootstrapOptions,
): Omit<Compared, "signature"> {
  const paired = pairedBootstrap(first, second, score, options);
  return { name, first: score(sumRows(first)), second: score(sumRows(second)), ...paired };
}

function compareRates(pairs: readonly [Heard, Heard][], options: Omit<SummaryOptions, "task">): Compared[] {
  const { form } = options;
  const rows = (side: 0 | 1, unit: ErrorUnit): Rows =>
    pairs.flatMap((pair) => referenceEdits(pair[side], unit, form).map(editRow));
  const compared = (name: string, unit: ErrorUnit): Compared => ({
    ...compareOne(name, [rows(0, unit), rows(1, unit)], editRatio, options),
    signature: rateSignature(unit, form),
    unit,
  });
  return [compared("CER", "character"), compared("MER", "mixed")];
}

/** Errors of times and shares of speech, over the segments of which both systems have them. */
function compareTimes(pairs: readonly [Heard, Heard][], options: BootstrapOptions): Compared[] {
  const times = ([0, 1] as const).map((side) => pairs.flatMap((pair) => segmentTimes(pair[side])));
  const compared = (
    name: string,
    unit: "ms" | "second",
    row: (times: SegmentTimes) => number[] | undefined,
  ): Compared[] => {
    const rows = times[0].flatMap((one, i) => {
      const [a, b] = [row(one), row(times[1][i])];
      return a && b ? [[a, b] as const] : [];
    });
    if (rows.length === 0) return [];
    const sides = [rows.map(([a]) => a), rows.map(([, b]) => b)] as const;
    return [
      {
        ...compareOne(name, sides, editRatio, options),
        unit,
        signature: `segments:${rows.length}|unit:${unit}`,
      },
    ];
  };
  const error = (field: "start" | "end") => (one: SegmentTimes) => {
    const value = one[field];
    return value === undefined ? undefined : [1000 * Math.abs(value), 1];
  };
  const share = (field: "missed" | "falseSpeech") => (one: SegmentTimes) => {
    const value = one[field];
    return value === undefined ? undefined : [value, one.seconds];
  };
  return [
    ...compared("error of begins", "ms", error("start")),
    ...compared("error of ends", "ms", error("end")),
    ...compared("missed speech", "second", share("missed")),
    ...compared("false speech", "second", share("falseSpeech")),
  ];
}

function compareScores(pairs: readonly [Heard, Heard][], options: Omit<SummaryOptions, "task">): Compared[] {
  return translationMetrics(options).map((metric) => {
    const segments = [0, 1].map((side) => pairs.map((pair) => segmentOf(pair[side as 0 | 1])));
    const rows = segments.map((side) => corpusStatistics(metric, side));
    const signature = metric.signature(segments[0]);
    return {
      ...compareOne(metric.name, [rows[0], rows[1]], (sums) => metric.score(sums), options),
      signature,
    };
  });
}
