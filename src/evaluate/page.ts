import { basename } from "node:path";
import { jointOf } from "../scripts.js";
import { errorRate } from "./metrics/cer.js";
import type { TextForm } from "./metrics/text-form.js";
import { type Aligned, countEdits } from "./metrics/edits.js";
import { corpusScore } from "./metrics/metric.js";
import { answersOf, referenceEdits } from "./recordings/answers.js";
import { type Failed, type Heard, type UtteranceRecord, isFailed } from "./record.js";
import type { EvaluationReport } from "./report.js";
import { scriptOf, segmentOf, translationMetrics } from "./summary.js";
import { chart } from "../report/chart.js";
import { type Cell, escapeHtml, page, tableHtml } from "../report/html.js";
import {
  agreementRows,
  costRows,
  forcedRows,
  scoreRows,
  signatures,
  timeErrorRows,
  timeRows,
} from "./tables.js";

/** One format's records. */
export interface FormatRecords {
  readonly weights: string;
  readonly records: readonly UtteranceRecord[];
}

const shownWorst = 10;
const colours = ["#2867b2", "#e08a2c", "#3a9a6b", "#b5485d", "#7b61a8", "#6b7785"];
const grid = { left: 70, right: 20, top: 40, bottom: 50 };

/** Settings of the page. */
export interface PageTools {
  /** A clip as a data: URI. */
  readonly play: (record: Heard) => Promise<string>;
  /** In which error rates are counted. */
  readonly form: TextForm;
}

/** The page of a run: tables, charts, the worst utterances with their audio. */
export async function reportPage(
  report: EvaluationReport,
  runs: readonly FormatRecords[],
  tools: PageTools,
): Promise<string> {
  const { results } = report;
  const first = runs[0]?.records ?? [];
  const heard = first.filter((record): record is Heard => !isFailed(record));
  const forced = forcedRows(results);
  const agreement = agreementRows(results);
  const times = timeRows(results);
  const errors = timeErrorRows(results);
  const body = [
    heading(report),
    first.length > 0 ? `<h2>Scores</h2>${numbers(scoreRows(results), 2)}${signatureList(report)}` : "",
    forced.length > 0 ? `<h2>Forced decoding of the references</h2>${numbers(forced, 1)}` : "",
    agreement.length > 0 ? `<h2>Agreement with the CTC head</h2>${numbers(agreement, 1)}` : "",
    errors.length > 0 ? `<h2>Times of the references</h2>${numbers(errors, 1)}${errorNote}` : "",
    times.length > 0 ? `<h2>Time</h2>${numbers(times, 1)}` : "",
    heard.length > 0 ? `<h2>Time by stage</h2>${stageChart(report)}` : "",
    `<h2>Loading, memory, one second of audio</h2>${numbers(costRows(results), 1)}`,
    heard.length > 0 ? lengthPart(report, runs, tools.form) : "",
    heard.length > 0 ? await worstPart(heard, runs[0].weights, tools) : "",
    failedPart(first.filter(isFailed)),
  ];
  return page({ title: `Evaluation of ${basename(report.model)}`, body: body.filter(Boolean).join("\n") });
}

function heading({ model, data, device, settings, badLines, results }: EvaluationReport): string {
  const { task, to, cascade, language, batch } = settings;
  const way = cascade ? ", cascade" : "";
  const what =
    task === "asr" ? "recognition" : `translation into ${to === "zh" ? "Chinese" : "English"}${way}`;
  const spoken = language === undefined ? "" : `; language given: ${language}`;
  const { length, loop } = results[0].summary.endings;
  const lines = [
    `${what} of <code>${escapeHtml(data ?? "no data")}</code> by <code>${escapeHtml(model)}</code>`,
    `${escapeHtml(device)}; ${batch === 1 ? "one clip at a time" : `${batch} clips together`}${spoken}`,
    `${length} answers cut at their limit, ${loop} at a repeating cycle${badLines > 0 ? `; ${badLines} lines of the data hold no utterance` : ""}`,
  ];
  return lines.map((line) => `<p class="note">${line}</p>`).join("");
}

/** A table whose columns from `from` on are numbers. */
function numbers(rows: readonly (readonly Cell[])[], from: number): string {
  return tableHtml(rows, rows[0].map((_, i) => i).slice(from));
}

function signatureList({ results }: EvaluationReport): string {
  const lines = signatures(results).map((line) => `<p><code>${escapeHtml(line)}</code></p>`);
  return `${lines.join("")}<p class="note">In brackets: 95 % of the scores of resampled utterances, of recordings resampled segments (bootstrap). Failed utterances are in no score.</p>`;
}

const errorNote = `<p class="note">Errors are medians, the 95th percentile in brackets, of the segments whose first or last word was found. Missed and false speech are shares of the references' speech.</p>`;

const stageLabels = {
  vad: "voice activity",
  frontend: "front-end",
  encoder: "encoder",
  adaptor: "adaptor",
  prefill: "prompt and first token",
  decode: "further tokens",
} as const;

function stageChart({ results }: EvaluationReport): string {
  const timed = results.flatMap(({ weights, summary: { latency } }) =>
    latency ? [{ weights, realTime: latency.realTime }] : [],
  );
  return chart(
    {
      color: colours,
      grid: { ...grid, left: 90 },
      legend: { top: 0 },
      xAxis: { type: "value", name: "ms for each second of audio", nameLocation: "middle", nameGap: 30 },
      yAxis: { type: "category", inverse: true, data: timed.map(({ weights }) => weights) },
      series: Object.entries(stageLabels)
        .filter(([stage]) => stage !== "vad" || timed.some(({ realTime }) => realTime.vad))
        .map(([stage, name]) => ({
          name,
          type: "bar",
          stack: "time",
          barMaxWidth: 34,
          data: timed.map(({ realTime }) => round(1000 * (realTime[stage as keyof typeof stageLabels] ?? 0))),
        })),
    },
    { height: 120 + 50 * timed.length },
  );
}

const bounds = [1, 2, 3, 4, 6, 8, 12, 20, 30, 60, Infinity]; // seconds

function binName(i: number): string {
  const from = i === 0 ? 0 : bounds[i - 1];
  return bounds[i] === Infinity ? `from ${from} s` : `${from}–${bounds[i]} s`;
}

/**
 * Error rate, or chrF of translations, by length of the clips. Each bar's label has its number of
 * clips.
 */
function lengthPart({ settings }: EvaluationReport, runs: readonly FormatRecords[], form: TextForm): string {
  const bins = bounds
    .map((bound, i) => ({ bound, from: i === 0 ? 0 : bounds[i - 1], name: binName(i) }))
    .map((bin) => ({ ...bin, runs: runs.map(({ records }) => inBin(records, bin)) }))
    .filter((bin) => bin.runs.some((records) => records.length > 0));
  const translated = settings.task === "st";
  const [, chrf] = translationMetrics(settings);
  const value = (records: readonly Heard[]): number => {
    if (translated) return corpusScore(chrf, records.map(segmentOf));
    return 100 * errorRate(records.flatMap((one) => referenceEdits(one, "character", form))).rate;
  };
  const name = translated ? "chrF" : "CER, %";
  const drawn = chart({
    color: colours,
    grid,
    legend: { top: 0 },
    xAxis: { type: "category", data: bins.map((bin) => `${bin.name}\n${bin.runs[0].length} clips`) },
    yAxis: { type: "value", name },
    series: runs.map(({ weights }, i) => ({
      name: weights,
      type: "bar",
      barMaxWidth: 34,
      label: { show: runs.length < 4, position: "top" },
      data: bins.map((bin) => {
        const score = bin.runs[i].length === 0 ? NaN : value(bin.runs[i]);
        return Number.isFinite(score) ? round(score) : "-";
      }),
    })),
  });
  return `<h2>${translated ? "chrF" : "CER"} by length of the clip</h2>${drawn}`;
}

function inBin(records: readonly UtteranceRecord[], bin: { from: number; bound: number }): Heard[] {
  return records.filter(
    (record): record is Heard =>
      !isFailed(record) && record.audioSeconds >= bin.from && record.audioSeconds < bin.bound,
  );
}

function round(value: number): number {
  return Math.round(100 * value) / 100;
}

/** Utterances, and segments of recordings, with the most errors for their length. */
async function worstPart(
  heard: readonly Heard[],
  weights: string,
  { play, form }: PageTools,
): Promise<string> {
  const scored = heard.flatMap((record) =>
    answersOf(record, unitOf(record), form).map(({ columns, segment }) => {
      const { edits, rate } = errorRate([countEdits(columns)]);
      return { record, segment, columns, edits, rate: Number.isFinite(rate) ? rate : edits };
    }),
  );
  const worst = scored
    .filter(({ edits }) => edits > 0)
    .sort((a, b) => b.rate - a.rate || b.edits - a.edits)
    .slice(0, shownWorst);
  const title = `<h2>Worst utterances (${escapeHtml(weights)})</h2>`;
  if (worst.length === 0) return `${title}<p>None: every utterance is heard word for word.</p>`;
  const rows: Cell[][] = [];
  for (const { record, segment, columns, rate } of worst) {
    const { audio, line } = record;
    const part = segment && { start: segment.start, end: segment.end };
    const finish = segment ? (segment.finish ?? "stop") : record.finish;
    rows.push([
      `${basename(audio)} (line ${line}${part ? `, from ${part.start.toFixed(1)} s` : ""})`,
      `${(part ? part.end - part.start : record.audioSeconds).toFixed(1)} s`,
      `${(100 * rate).toFixed(0)} %`,
      { html: difference(columns, unitOf(record)) },
      finish,
      { html: await player({ ...record, ...part }, play) },
    ]);
  }
  const legend = `<p class="note">In the form that is compared: <del>said, not heard</del>, <ins>heard, not said</ins>.</p>`;
  return title + legend + tableHtml([["clip", "length", "errors", "text", "end", "audio"], ...rows], [1, 2]);
}

function unitOf({ reference, segments }: Heard): "word" | "character" | "mixed" {
  if (segments) return "mixed";
  return scriptOf(reference) === "spaced" ? "word" : "character";
}

async function player(record: Heard, play: (record: Heard) => Promise<string>): Promise<string> {
  try {
    return `<audio controls preload="none" src="${await play(record)}"></audio>`;
  } catch {
    return "not to be read any more";
  }
}

function difference(columns: readonly Aligned[], unit: "word" | "character" | "mixed"): string {
  const joint = (before: string, after: string): string =>
    unit === "character" || (unit === "mixed" && jointOf(before, after) === "") ? "" : " ";
  let [html, last] = ["", ""];
  const add = (text: string, shown: string): void => {
    html += (last === "" ? "" : joint(last, text)) + shown;
    last = text;
  };
  for (const { kind, reference = "", hypothesis = "" } of columns) {
    if (kind === "equal") {
      add(reference, escapeHtml(reference));
      continue;
    }
    if (reference !== "") add(reference, `<del>${escapeHtml(reference)}</del>`);
    if (hypothesis !== "") add(hypothesis, `<ins>${escapeHtml(hypothesis)}</ins>`);
  }
  return html;
}

function failedPart(failed: readonly Failed[]): string {
  if (failed.length === 0) return "";
  const rows = failed.map(({ line, audio, error }) => [String(line), basename(audio), error]);
  return `<h2>Failed utterances</h2>${tableHtml([["line", "clip", "why"], ...rows], [0])}`;
}
