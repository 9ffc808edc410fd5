import type { StageSeconds } from "../decode/transcriber.js";
import { type BleuTokenizer } from "./metrics/bleu-tokenizers.js";
import { areaUnderCurve } from "./metrics/auc.js";
import { bleu } from "./metrics/bleu.js";
import { type BootstrapOptions, type Interval, bootstrap } from "./metrics/bootstrap.js";
import { type ErrorUnit, type Rate, errorRate } from "./metrics/cer.js";
import { unspaced } from "../scripts.js";
import { chrf } from "./metrics/chrf.js";
import type { Edits } from "./metrics/edits.js";
import { type Metric, type Segment, corpusStatistics } from "./metrics/metric.js";
import { sumRows } from "./metrics/ngrams.js";
import { type TextForm, documentedForm } from "./metrics/text-form.js";
import { ter } from "./metrics/ter.js";
import { type Answer, answersOf, editsInParts, referenceEdits } from "./recordings/answers.js";
import { type TimeSummary, summarizeTimes } from "./recordings/times.js";
import { type Heard, type Task, type UtteranceRecord, isFailed } from "./record.js";
import { type Spread, spread } from "./statistics.js";
import { sum } from "../arrays.js";

/** Script of a text, by its characters. */
export type Script = "spaced" | "unspaced";

/** One score with its 95 % interval. */
export interface Score extends Interval {
  readonly name: string;
  readonly value: number;
  /**
   * sacrebleu's of translation scores, unit and form of error rates: what a score may be compared
   * with.
   */
  readonly signature: string;
}

/** An error rate with its counts and interval. */
export type RateScore = Score & Omit<Rate, "rate">;

/** Utterances whose references are of one script, or all. */
export interface Group {
  readonly name: "all" | Script;
  readonly utterances: number;
  /** Could not be run; in no rate. */
  readonly failed: number;
  readonly audioSeconds: number;
  readonly scores: readonly (Score | RateScore)[];
  /** Utterances that are right word for word, in canonical form. */
  readonly exact: number;
  /** Utterances with words where the reference is empty. */
  readonly invented: number;
}

/** Times over clips. A clip's time is that of its batch. Clips that ran in segments count in `realTime` alone. */
export interface Latency {
  /** From the beginning of the front-end to the first token, seconds. */
  readonly firstToken: Spread;
  /** To the last one. */
  readonly total: Spread;
  /** Seconds of work for each second of audio, by stage and together. */
  readonly realTime: Readonly<Record<keyof StageSeconds | "total", number>> & { readonly vad?: number };
  /** New tokens a second behind the first, over all clips of a batch. */
  readonly tokensPerSecond: Spread;
}

/** Utterances whose answers were cut. */
export interface Endings {
  readonly length: number;
  readonly loop: number;
}

export interface ForcedSummary {
  readonly positions: number;
  readonly agreement: number;
  readonly meanLogProbability: number;
}

/** How well the agreement with the CTC head's text finds wrong answers; each segment is one. */
export interface AgreementSummary {
  /** Answers with words that are right in canonical form, and the others. */
  readonly right: number;
  readonly wrong: number;
  /** Answers without words, which need no finding. */
  readonly empty: number;
  /** Mean agreement of each; NaN of none. */
  readonly meanRight: number;
  readonly meanWrong: number;
  /** Chance that a right answer agrees more than a wrong one, ties as half. */
  readonly areaUnderCurve: number;
}

export interface Summary {
  readonly groups: readonly Group[];
  readonly endings: Endings;
  /** Utterances whose records have warnings. */
  readonly warned: number;
  /** Undefined where no clip could be run. */
  readonly latency?: Latency;
  readonly forced?: ForcedSummary;
  readonly agreement?: AgreementSummary;
  /** Where references have times. */
  readonly times?: TimeSummary;
}

export interface SummaryOptions extends BootstrapOptions {
  readonly task: Task;
  /** Language of the translations: Chinese is scored by its characters. */
  readonly to?: "zh" | "en";
  /** BLEU's. Default: zh for Chinese, else 13a. */
  readonly tokenizer?: BleuTokenizer;
  /** In which error rates are counted. Default: the documented one. */
  readonly form?: TextForm;
}

/**
 * Script of a text: unspaced where any of its characters is of a script without spaces between
 * words.
 */
export function scriptOf(text: string): Script {
  return unspaced.test(text) ? "unspaced" : "spaced";
}

/** The metrics of a translation. */
export function translationMetrics({ to, tokenizer }: Pick<SummaryOptions, "to" | "tokenizer">): Metric[] {
  const chinese = to === "zh";
  return [
    bleu({ tokenizer: tokenizer ?? (chinese ? "zh" : "13a") }),
    chrf(),
    ter({ tokenizer: chinese ? "asian" : "tercom" }),
  ];
}

/** All figures of a run. */
export function summarize(records: readonly UtteranceRecord[], options: SummaryOptions): Summary {
  const heard = records.filter((record): record is Heard => !isFailed(record));
  const scripts = new Set(records.map(({ reference }) => scriptOf(reference)));
  const names: Group["name"][] = scripts.size > 1 ? ["all", "spaced", "unspaced"] : ["all"];
  const times = summarizeTimes(heard);
  const ended = (finish: Heard["finish"]): number => heard.filter((one) => one.finish === finish).length;
  return {
    groups: names.map((name) =>
      summarizeGroup(
        name,
        records.filter(({ reference }) => name === "all" || scriptOf(reference) === name),
        options,
      ),
    ),
    endings: { length: ended("length"), loop: ended("loop") },
    warned: heard.filter(({ warnings }) => warnings !== undefined).length,
    ...(heard.length > 0 ? { latency: summarizeLatency(heard) } : {}),
    ...(heard.some(({ forced }) => forced) ? { forced: summarizeForced(heard) } : {}),
    ...agreementOf(heard, options.form),
    ...(times && { times }),
  };
}

function summarizeGroup(
  name: Group["name"],
  records: readonly UtteranceRecord[],
  options: SummaryOptions,
): Group {
  const heard = records.filter((record): record is Heard => !isFailed(record));
  const spokenScript = name === "all" && heard.every(({ reference }) => scriptOf(reference) === "spaced");
  const edits = heard.map((one) => sumEdits(referenceEdits(one, "character", options.form)));
  return {
    name,
    utterances: records.length,
    failed: records.length - heard.length,
    audioSeconds: heard.reduce((sum, { audioSeconds }) => sum + audioSeconds, 0),
    scores:
      heard.length === 0
        ? []
        : options.task === "st"
          ? translationScores(heard, options)
          : recognitionScores(heard, name === "spaced" || spokenScript, options),
    exact: edits.filter((e) => e.substitutions + e.deletions + e.insertions === 0).length,
    invented: heard.filter(({ reference, hypothesis }) => reference === "" && hypothesis !== "").length,
  };
}

const rateNames: Readonly<Record<ErrorUnit, string>> = { character: "CER", word: "WER", mixed: "MER" };

/** Unit and form of an error rate. */
export function rateSignature(unit: ErrorUnit, { signature }: TextForm = documentedForm): string {
  return `unit:${unit}|${signature}`;
}

/** CER of all; WER where words are set apart by spaces, else the mixed rate. */
function recognitionScores(
  heard: readonly Heard[],
  spaced: boolean,
  options: Omit<SummaryOptions, "task">,
): RateScore[] {
  const { form } = options;
  const units: ErrorUnit[] = ["character", spaced ? "word" : "mixed"];
  return units.map((unit) => {
    const all = heard.flatMap((one) => referenceEdits(one, unit, form));
    const { rate, ...counts } = errorRate(all);
    const parts = heard.flatMap((one) => editsInParts(one, unit, form));
    const interval = bootstrap(parts.map(editRow), editRatio, options);
    return {
      name: rateNames[unit],
      value: rate,
      ...interval,
      ...counts,
      signature: rateSignature(unit, form),
    };
  });
}

/** The edits of several texts together. */
function sumEdits(all: readonly Edits[]): Edits {
  const { substitutions, deletions, insertions, length } = errorRate(all);
  return { substitutions, deletions, insertions, length };
}

/** Statistics of an error rate for resampling: [edits, reference length]. */
export function editRow({ substitutions, deletions, insertions, length }: Edits): number[] {
  return [substitutions + deletions + insertions, length];
}

export function editRatio([edits, length]: readonly number[]): number {
  return edits / length;
}

function translationScores(heard: readonly Heard[], options: SummaryOptions): Score[] {
  const segments = heard.map(segmentOf);
  return translationMetrics(options).map((metric) => {
    const rows = corpusStatistics(metric, segments);
    return {
      name: metric.name,
      value: metric.score(sumRows(rows)),
      ...bootstrap(rows, (sums) => metric.score(sums), options),
      signature: metric.signature(segments),
    };
  });
}

export function segmentOf({ reference, hypothesis }: Heard): Segment {
  return { hypothesis, references: [reference] };
}

const stageNames = ["frontend", "encoder", "adaptor", "prefill", "decode"] as const;

/** Whether a clip ran in segments. */
function isCut({ segments }: Heard): boolean {
  return segments !== undefined;
}

function summarizeLatency(heard: readonly Heard[]): Latency {
  const audio = heard.reduce((sum, { audioSeconds }) => sum + audioSeconds, 0);
  const perAudio = (stage: keyof StageSeconds): number =>
    heard.reduce((sum, { seconds, batch }) => sum + seconds[stage] / (stage === "frontend" ? 1 : batch), 0) /
    audio;
  const stages = Object.fromEntries(stageNames.map((stage) => [stage, perAudio(stage)])) as Record<
    keyof StageSeconds,
    number
  >;
  const vad = sum(heard.map(({ seconds }) => seconds.vad ?? 0)) / audio;
  const whole = heard.filter((one) => !isCut(one));
  const rates = whole
    .filter(({ tokens, seconds }) => tokens > 1 && seconds.decode > 0)
    .map(({ tokens, seconds }) => (tokens - 1) / seconds.decode);
  const first = whole.map(({ seconds: s }) => s.frontend + s.encoder + s.adaptor + s.prefill);
  return {
    firstToken: spread(first),
    total: spread(whole.map(({ seconds }, i) => first[i] + seconds.decode)),
    realTime: {
      ...stages,
      ...(heard.some(isCut) && { vad }),
      total: sum(Object.values(stages)) + vad,
    },
    tokensPerSecond: spread(rates),
  };
}

function summarizeForced(heard: readonly Heard[]): ForcedSummary {
  let [positions, hits, sum] = [0, 0, 0];
  for (const { forced } of heard) {
    if (!forced) continue;
    positions += forced.ids.length;
    hits += forced.ids.filter((id, i) => id === forced.tops[i]).length;
    sum += forced.logProbability;
  }
  return { positions, agreement: hits / positions, meanLogProbability: sum / positions };
}

function agreementOf(heard: readonly Heard[], form?: TextForm): { agreement?: AgreementSummary } {
  const compared = heard.some(
    ({ agreement, segments = [] }) =>
      agreement !== undefined || segments.some((one) => one.agreement !== undefined),
  );
  if (!compared) return {};
  return { agreement: summarizeAgreement(heard.flatMap((one) => answersOf(one, "character", form))) };
}

function summarizeAgreement(answers: readonly Answer[]): AgreementSummary {
  const right: number[] = [];
  const wrong: number[] = [];
  let empty = 0;
  for (const { agreement, text, columns } of answers) {
    if (text === "") empty++;
    if (agreement === undefined || text === "") continue;
    const exact = columns.every(({ kind }) => kind === "equal");
    (exact ? right : wrong).push(agreement);
  }
  return {
    right: right.length,
    wrong: wrong.length,
    empty,
    meanRight: sum(right) / right.length,
    meanWrong: sum(wrong) / wrong.length,
    areaUnderCurve: areaUnderCurve(right, wrong),
  };
}

/**
 * Share of the positions at which two runs of the same forced answers have the same likeliest
 * token; NaN of none.
 */
export function forcedAgreement(
  first: ReadonlyMap<number, UtteranceRecord>,
  second: ReadonlyMap<number, UtteranceRecord>,
): number {
  let [positions, same] = [0, 0];
  for (const [line, record] of first) {
    const other = second.get(line);
    if (!other || isFailed(record) || isFailed(other) || !record.forced || !other.forced) continue;
    positions += record.forced.tops.length;
    same += record.forced.tops.filter((id, i) => id === other.forced!.tops[i]).length;
  }
  return same / positions;
}
