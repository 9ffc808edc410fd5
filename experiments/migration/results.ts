import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bleu } from "../../src/evaluate/metrics/bleu.js";
import { characterErrorRate } from "../../src/evaluate/metrics/cer.js";
import { corpusScore } from "../../src/evaluate/metrics/metric.js";
import { isFailed, parseRecords } from "../../src/evaluate/record.js";
import { chart } from "../../src/report/chart.js";
import { type StepMetrics, isValidation, readMetrics } from "../../src/train/metrics.js";
import { readJsonl, testFile, testSource, translatedTexts } from "./data.js";
import { type Test, tests } from "./variants.js";

/** Scores of a model on one test set. */
export interface Score {
  readonly test: Test["name"];
  readonly utterances: number;
  /** Character error rate; of a translation against the one reference. */
  readonly cer: number;
  /** Share of answers that equal the reference to the letter. */
  readonly exact: number;
  /** Of translations. */
  readonly bleu?: number;
}

export interface Row {
  readonly name: string;
  readonly title: string;
  readonly scores: readonly Score[];
  readonly training?: Training;
}

/** Cost of the training of a variant. */
export interface Training {
  readonly steps: number;
  readonly clips: number;
  readonly tokensPerStep: number;
  readonly secondsPerStep: number;
  readonly firstLoss: number;
  readonly lastLoss: number;
  readonly gpuBytes: number;
}

function score(test: Test, pairs: readonly (readonly [string, string])[]): Score {
  const exact = pairs.filter((pair) => characterErrorRate([pair]).edits === 0).length;
  const segments = pairs.map(([reference, hypothesis]) => ({ hypothesis, references: [reference] }));
  const tokenizer = test.name === "en-zh" ? "zh" : "13a";
  return {
    test: test.name,
    utterances: pairs.length,
    cer: characterErrorRate(pairs).rate,
    exact: exact / pairs.length,
    ...(test.task === "translation" ? { bleu: corpusScore(bleu({ tokenizer }), segments) } : {}),
  };
}

/** Scores of the records of `evaluate`. The lines of the test sets follow each other. */
export function evaluated(work: string, name: string): Score[] {
  const file = join(work, "evaluated", name, "utterances-stored.jsonl");
  const records = parseRecords(readFileSync(file, "utf8"), file);
  const count = readJsonl(testFile(work)).length / tests.length;
  return tests.flatMap((test, i) => {
    const found = Array.from({ length: count }, (_, line) => records.get(i * count + line + 1));
    const pairs = found.flatMap((record) => {
      if (!record) return [];
      return [[record.reference, isFailed(record) ? "" : record.hypothesis] as const];
    });
    return pairs.length === 0 ? [] : [score(test, pairs)];
  });
}

/** The LLM's own translation of the true text: the limit of a translation from speech. */
export async function upperBound(work: string): Promise<Row> {
  const count = readJsonl(testFile(work)).length / tests.length;
  const scores: Score[] = [];
  for (const test of tests.filter(({ task }) => task === "translation")) {
    const texts = await translatedTexts(work, test, count);
    const wanted = readJsonl(testSource(work, test)).slice(0, count);
    scores.push(
      score(
        test,
        wanted.map(({ audio, text }) => [text, texts.get(audio) ?? ""]),
      ),
    );
  }
  return { name: "llm", title: "the LLM on the true text", scores };
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1];

export async function trainingSteps(work: string, name: string): Promise<StepMetrics[]> {
  const file = join(work, "trained", name, "metrics.jsonl");
  const lines = existsSync(file) ? await readMetrics(file) : [];
  return lines.filter((line): line is StepMetrics => !isValidation(line));
}

export async function trainingOf(work: string, name: string, clips: number): Promise<Training> {
  const steps = await trainingSteps(work, name);
  const last = steps.slice(-25);
  return {
    steps: steps.length,
    clips,
    tokensPerStep: median(steps.map(({ tokens }) => tokens)),
    secondsPerStep: median(steps.map(({ seconds }) => seconds)),
    firstLoss: steps[0].loss,
    lastLoss: last.reduce((sum, { loss }) => sum + loss, 0) / last.length,
    gpuBytes: Math.max(...steps.map(({ gpuBytes }) => gpuBytes)),
  };
}

const percent = (share: number | undefined): string => (share === undefined ? "–" : (100 * share).toFixed(2));

/** The table of docs/migration.md. */
export function markdownTable(rows: readonly Row[]): string {
  const head = [
    "",
    ...tests.map(({ title, task }) => `${title}, ${task === "recognition" ? "CER" : "errors"}`),
  ];
  const body = rows.map(({ title, scores }) => [
    title,
    ...tests.map(({ name }) => percent(scores.find(({ test }) => test === name)?.cer)),
  ]);
  const exact = rows.map(({ title, scores }) => [
    title,
    ...tests.map(({ name }) => percent(scores.find(({ test }) => test === name)?.exact)),
  ]);
  const table = (lines: readonly (readonly string[])[]): string =>
    lines
      .flatMap((cells, i) => [
        cells,
        ...(i === 0 ? [cells.map((_, column) => (column ? "--:" : "---"))] : []),
      ])
      .map((cells) => `| ${cells.join(" | ")} |`)
      .join("\n");
  const bleus = rows.map(({ title, scores }) => [
    title,
    ...tests
      .filter(({ task }) => task === "translation")
      .map(({ name }) => scores.find(({ test }) => test === name)?.bleu?.toFixed(1) ?? "–"),
  ]);
  const translations = tests.filter(({ task }) => task === "translation").map(({ title }) => title);
  return [
    "Character errors, %:",
    table([head, ...body]),
    "Answers to the letter, %:",
    table([["", ...tests.map(({ title }) => title)], ...exact]),
    "BLEU:",
    table([["", ...translations], ...bleus]),
  ].join("\n\n");
}

type Point = [step: number, value: number];

export interface Curve {
  readonly name: string;
  readonly points: readonly Point[];
  readonly dots?: boolean;
}

/** Lines over optimiser steps as an SVG file. */
export function writeCurves(file: string, label: string, curves: readonly Curve[], log = false): void {
  const legendRows = Math.ceil(curves.reduce((sum, { name }) => sum + name.length + 6, 0) / 100);
  const top = 28 + 22 * legendRows;
  const figure = chart(
    {
      grid: { left: 60, right: 20, top, bottom: 40 },
      legend: { top: 0 },
      xAxis: { type: "value", name: "step", nameLocation: "middle", nameGap: 24, min: 0, max: "dataMax" },
      yAxis: { type: log ? "log" : "value", name: label },
      series: curves.map(({ name, points, dots }) => ({
        name,
        type: "line",
        data: points.map((point) => [...point]),
        showSymbol: dots === true,
        lineStyle: { width: 1.5 },
      })),
    },
    { width: 800, height: 270 + top },
  );
  writeFileSync(file, figure.replace(/^<figure>/, "").replace(/<\/figure>$/, "\n"));
}

/**
 * Means of `window` neighbouring steps, for curves of a few dozen points.
 * @param before  steps of the run that this one continues
 */
export function thinned(steps: readonly StepMetrics[], window: number, before = 0): Point[] {
  const points: Point[] = [];
  for (let i = 0; i + window <= steps.length; i += window) {
    const part = steps.slice(i, i + window);
    points.push([before + part[window - 1].step, part.reduce((sum, { loss }) => sum + loss, 0) / window]);
  }
  return points;
}

/**
 * CER of the validations of a run, in %.
 * @param before  steps of the run that this one continues
 */
export async function validationErrors(work: string, name: string, before = 0): Promise<Point[]> {
  const lines = await readMetrics(join(work, "trained", name, "metrics.jsonl"));
  return lines
    .filter(isValidation)
    .flatMap(({ step, validation: { cer } }) =>
      cer === undefined ? [] : [[before + step, 100 * cer] as Point],
    );
}

/** The loss curve beside that of PyTorch, where torch_curve.py has run. */
export function torchCurves(work: string): void {
  const file = join(work, "torch-curve.json");
  if (!existsSync(file)) return;
  const { curve } = JSON.parse(readFileSync(file, "utf8")) as {
    readonly curve: readonly { readonly step: number; readonly loss: number; readonly torch: number }[];
  };
  writeCurves(join(work, "torch.svg"), "loss, nats", [
    { name: "WebGPU", points: curve.map(({ step, loss }) => [step, loss]) },
    { name: "PyTorch", points: curve.map(({ step, torch }) => [step, torch]), dots: true },
  ]);
}
