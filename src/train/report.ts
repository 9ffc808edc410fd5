import { chart } from "../report/chart.js";
import { type Cell, page, tableHtml } from "../report/html.js";
import { type Metrics, type StepMetrics, isValidation } from "./metrics.js";

type Point = readonly [step: number, value: number];

interface Line {
  readonly name: string;
  readonly points: readonly Point[];
  /** Marks each point: for the few of the validations. */
  readonly dots?: boolean;
}

const smoothed = 25; // steps of the running mean

/**
 * A self-contained HTML page with the curves of a run.
 * @param title  name of the run on the page
 */
export function trainingReport(title: string, lines: readonly Metrics[]): string {
  const steps = lines.filter((line): line is StepMetrics => !isValidation(line));
  const validations = lines.filter(isValidation);
  const of = (key: "gradientNorm" | "learningRate"): Point[] => steps.map((line) => [line.step, line[key]]);
  const losses = (aligned: boolean): Point[] =>
    steps.flatMap((line) => ((line.aligned ?? false) === aligned ? [[line.step, line.loss] as const] : []));
  const validated = (key: "loss" | "cer" | "cosine", scale = 1): Point[] =>
    validations.flatMap(({ step, validation }) => {
      const value = validation[key];
      return value === undefined ? [] : [[step, scale * value] as const];
    });
  const validation: Line = { name: "validation", points: validated("loss"), dots: true };
  const charts: [string, readonly Line[], boolean][] = [
    ["Loss of the alignment (nats a frame)", withMean("alignment", losses(true)), false],
    ["Loss (nats a token)", [...withMean("training", losses(false)), validation], false],
    ["Character error rate (%)", [{ name: "CER", points: validated("cer", 100), dots: true }], false],
    ["Gradient norm, before clipping", [{ name: "norm", points: of("gradientNorm") }], true],
    ["Learning rate", [{ name: "rate", points: of("learningRate") }], false],
    [
      "Mean pairwise cosine of the adaptor's outputs",
      [{ name: "cosine", points: validated("cosine"), dots: true }],
      false,
    ],
  ];
  const body = [
    tableHtml(summary(steps, validations.length), [1]),
    ...charts
      .filter(([, drawn]) => drawn.some(({ points }) => points.length > 0))
      .map(([name, drawn, log]) => `<h2>${name}</h2>\n${curves(drawn, log)}`),
  ];
  return page({ title, body: body.join("\n") });

  function summary(all: readonly StepMetrics[], validated: number): Cell[][] {
    const rows: Cell[][] = [
      ["", "value"],
      ["steps", all.length],
    ];
    const last = all.at(-1);
    if (last) {
      const seconds = all.reduce((sum, line) => sum + line.seconds, 0);
      const tokens = all.reduce((sum, line) => sum + line.tokens, 0);
      rows.push(["epochs begun", last.epoch + 1]);
      rows.push(["loss of the last step", last.loss.toFixed(4)]);
      rows.push(["tokens", tokens.toLocaleString("en-US")]);
      rows.push(["time of the steps, s", seconds.toFixed(1)]);
      rows.push(["tokens a second", (tokens / seconds).toFixed(0)]);
      rows.push([
        "GPU memory, MB",
        (all.reduce((most, line) => Math.max(most, line.gpuBytes), 0) / 1e6).toFixed(0),
      ]);
    }
    rows.push(["validations", validated]);
    return rows;
  }
}

function withMean(name: string, points: readonly Point[]): Line[] {
  return [
    { name, points },
    { name: `${name}, mean of ${smoothed} steps`, points: runningMean(points, smoothed) },
  ];
}

/** Mean of each point and those before it, `window` at most. */
function runningMean(points: readonly Point[], window: number): Point[] {
  let sum = 0;
  return points.map(([step, value], i) => {
    sum += value - (i >= window ? points[i - window][1] : 0);
    return [step, sum / Math.min(i + 1, window)];
  });
}

function curves(lines: readonly Line[], log: boolean): string {
  const drawn = lines.filter(({ points }) => points.length > 0);
  return chart({
    grid: { left: 70, right: 20, top: drawn.length > 1 ? 40 : 20, bottom: 45 },
    ...(drawn.length > 1 ? { legend: { top: 0 } } : {}),
    xAxis: { type: "value", name: "step", nameLocation: "middle", nameGap: 28, min: 0, max: "dataMax" },
    yAxis: { type: log ? "log" : "value", scale: true },
    series: drawn.map(({ name, points, dots }, i) => ({
      name,
      type: "line",
      data: points.map((point) => [...point]),
      showSymbol: dots === true || points.length === 1,
      lineStyle: {
        width: i === 0 && drawn.length > 1 ? 1 : 2,
        opacity: i === 0 && drawn.length > 1 ? 0.45 : 1,
      },
    })),
  });
}
