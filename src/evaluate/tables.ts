import { bytes, table } from "../report/text.js";
import type { Comparison } from "./compare.js";
import type { EvaluationReport, FormatResult } from "./report.js";
import type { Group, RateScore, Score, Summary } from "./summary.js";
import type { Spread } from "./statistics.js";

type Rows = string[][];

function isRate(score: Score | RateScore): score is RateScore {
  return "edits" in score;
}

/** A score as it is quoted: a rate in per cent, the others as they are. */
function shownScore(score: Score | RateScore): string {
  if (!Number.isFinite(score.value)) return "–";
  return isRate(score) ? `${(100 * score.value).toFixed(2)} %` : score.value.toFixed(2);
}

/** "3.75 % [1.20, 6.10]" */
function withInterval(score: Score | RateScore): string {
  if (!Number.isFinite(score.low)) return shownScore(score);
  const factor = isRate(score) ? 100 : 1;
  return `${shownScore(score)} [${(factor * score.low).toFixed(2)}, ${(factor * score.high).toFixed(2)}]`;
}

const groupNames: Readonly<Record<Group["name"], string>> = {
  all: "all",
  spaced: "with spaces",
  unspaced: "without spaces",
};

function groupName({ name }: Group): string {
  return groupNames[name];
}

/** Rows of scores, the head first. */
export function scoreRows(results: readonly FormatResult[]): Rows {
  const names = [
    ...new Set(results.flatMap(({ summary }) => summary.groups[0].scores.map(({ name }) => name))),
  ];
  const all = results.flatMap(({ summary }) =>
    summary.groups.flatMap(({ scores }) => scores.map(({ name }) => name)),
  );
  const columns = [...new Set([...names, ...all])];
  const head = ["weights", "script", "clips", "failed", ...columns, "sub / del / ins", "exact"];
  const rows = results.flatMap(({ weights, summary }) =>
    summary.groups.map((group) => {
      const rate = group.scores.find(isRate);
      const heard = group.utterances - group.failed;
      return [
        weights,
        groupName(group),
        String(group.utterances),
        String(group.failed),
        ...columns.map((name) => {
          const score = group.scores.find((one) => one.name === name);
          return score ? withInterval(score) : "";
        }),
        rate ? `${rate.substitutions} / ${rate.deletions} / ${rate.insertions}` : "–",
        heard > 0 ? `${((100 * group.exact) / heard).toFixed(1)} %` : "–",
      ];
    }),
  );
  return [head, ...rows];
}

function milliseconds(seconds: number): string {
  return Number.isNaN(seconds) ? "–" : `${(1000 * seconds).toFixed(0)} ms`;
}

/** "206 ms (p95 292 ms)" */
function withP95({ median, p95 }: Pick<Spread, "median" | "p95">): string {
  return Number.isNaN(median) ? "–" : `${milliseconds(median)} (${milliseconds(p95)})`;
}

/** Rows of the clips' times, the head first; none where no clip was run. */
export function timeRows(results: readonly FormatResult[]): Rows {
  const rows = results.flatMap(({ weights, summary: { latency } }) => {
    if (!latency) return [];
    const { firstToken, total, realTime, tokensPerSecond } = latency;
    const { median, p5 } = tokensPerSecond;
    const speed = Number.isNaN(median) ? "–" : `${median.toFixed(1)} (${p5.toFixed(1)})`;
    return [[weights, withP95(firstToken), withP95(total), realTime.total.toFixed(3), speed]];
  });
  const head = [
    "weights",
    "first token (p95)",
    "whole clip (p95)",
    "seconds for 1 s of audio",
    "tokens/s (p5)",
  ];
  return rows.length === 0 ? [] : [head, ...rows];
}

/** Rows of loading, memory and one second of audio, the head first. */
export function costRows(results: readonly FormatResult[]): Rows {
  const head = [
    "weights",
    "loading",
    "weights on GPU",
    "GPU peak",
    "resident peak",
    "1 s clip: first token",
    "whole clip",
  ];
  const rows = results.map(({ weights, measured }) => {
    const { second } = measured;
    return [
      weights,
      `${measured.loadSeconds.toFixed(2)} s`,
      bytes(measured.weightBytes),
      bytes(measured.gpuPeakBytes),
      bytes(measured.residentPeakBytes),
      second ? milliseconds(second.firstToken.median) : "–",
      second ? `${milliseconds(second.total.median)}, ${second.tokens} tokens` : "–",
    ];
  });
  return [head, ...rows];
}

/** Rows of the agreement with the CTC head's text, the head first; none where it was not asked for. */
export function agreementRows(results: readonly FormatResult[]): Rows {
  const rows = results.flatMap(({ weights, summary: { agreement } }) => {
    if (!agreement) return [];
    const { right, wrong, empty, meanRight, meanWrong, areaUnderCurve } = agreement;
    const figures = [meanRight, meanWrong, areaUnderCurve].map((value) =>
      Number.isNaN(value) ? "–" : value.toFixed(3),
    );
    return [[weights, String(right), String(wrong), String(empty), ...figures]];
  });
  const head = [
    "weights",
    "right",
    "wrong",
    "empty",
    "agreement of the right",
    "of the wrong",
    "area under the curve",
  ];
  return rows.length > 0 ? [head, ...rows] : [];
}

/**
 * Rows of how well times fit those of the references, the head first; none where no reference has
 * times.
 */
export function timeErrorRows(results: readonly FormatResult[]): Rows {
  const rows = results.flatMap(({ weights, summary: { times } }) => {
    if (!times) return [];
    const { segments, start, end, missed, falseSpeech } = times;
    const share = (value: number): string => (Number.isNaN(value) ? "–" : `${(100 * value).toFixed(2)} %`);
    const errors = [start, end].flatMap(({ found, ...error }) => [`${found}`, withP95(error)]);
    return [[weights, `${segments}`, ...errors, share(missed), share(falseSpeech)]];
  });
  const head = [
    "weights",
    "segments",
    "begins found",
    "error of begins (p95)",
    "ends found",
    "error of ends (p95)",
    "missed speech",
    "false speech",
  ];
  return rows.length > 0 ? [head, ...rows] : [];
}

/** Rows of forced decoding, the head first; none where it was not asked for. */
export function forcedRows(results: readonly FormatResult[]): Rows {
  if (!results.some(({ summary }) => summary.forced)) return [];
  const [{ weights: first }] = results;
  const rows = results.map(({ weights, summary: { forced }, agreesWithFirst }) => [
    weights,
    forced ? String(forced.positions) : "–",
    forced ? `${(100 * forced.agreement).toFixed(2)} %` : "–",
    forced ? forced.meanLogProbability.toFixed(4) : "–",
    agreesWithFirst === undefined ? "–" : `${(100 * agreesWithFirst).toFixed(2)} %`,
  ]);
  return [
    ["weights", "forced positions", "top-1 is the reference", "mean log p", `top-1 as ${first}`],
    ...rows,
  ];
}

/** Signatures of the scores: only equal ones can be compared. */
export function signatures(results: readonly FormatResult[]): string[] {
  const scores = results.flatMap(({ summary }) => summary.groups.flatMap((group) => group.scores));
  return [...new Set(scores.map(({ name, signature }) => `${name}|${signature}`))];
}

/** All tables of a report as text. */
export function reportText({ results }: EvaluationReport): string {
  const scored = results.filter(({ summary }) => summary.groups.some(({ utterances }) => utterances > 0));
  const parts = [
    scored.length > 0 ? textTable(scoreRows(scored)) : "",
    signatures(scored).join("\n"),
    textTable(forcedRows(scored)),
    textTable(agreementRows(scored)),
    textTable(timeErrorRows(scored)),
    textTable(timeRows(results)),
    textTable(costRows(results)),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

/** The scores of texts that were given, as text. */
export function scoresText(name: string, summary: Summary): string {
  const results: FormatResult[] = [{ weights: name, summary, measured: unmeasured }];
  const tables = [scoreRows, agreementRows, timeErrorRows].map((rows) => textTable(rows(results)));
  const [scores, ...others] = tables.filter((part) => part !== "");
  return [scores, signatures(results).join("\n"), ...others].join("\n\n");
}

const unmeasured = {
  weightBytes: 0,
  loadSeconds: 0,
  warmUpSeconds: 0,
  gpuPeakBytes: 0,
  residentPeakBytes: 0,
} as const;

function textTable(rows: Rows): string {
  return rows.length === 0 ? "" : table(rows, rows[0].map((_, i) => i).slice(2));
}

/** A comparison as text: scores of both, the difference, its interval and p. */
export function comparisonText({ utterances, left, metrics }: Comparison): string {
  const rows = metrics.map(({ name, first, second, difference, low, high, p, unit }) => {
    const factor = unit === undefined || unit === "ms" ? 1 : 100;
    const number = (value: number): string => (factor * value).toFixed(2).replace(/^-(0\.00)$/, "$1");
    const sign = difference > 0 ? "+" : "";
    return [
      unit === undefined ? name : `${name} ${unit === "ms" ? unit : "%"}`,
      number(first),
      number(second),
      `${sign}${number(difference)} [${number(low)}, ${number(high)}]`,
      p.toFixed(4),
    ];
  });
  const lines = metrics.map(({ name, signature }) => `${name}|${signature}`);
  const head = `${utterances} utterances of both${left > 0 ? `; ${left} of one alone are left out` : ""}`;
  const body = table([["", "first", "second", "difference [95 %]", "p"], ...rows], [1, 2, 3, 4]);
  return [head, body, ...lines].join("\n");
}
