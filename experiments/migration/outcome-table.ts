import { bleu } from "../../src/evaluate/metrics/bleu.js";
import type { Row, Score } from "./results.js";
import { type Test, tests } from "./variants.js";

/** One second of audio and memory with the weights in one format. */
export interface OutcomeFormat {
  /** "stored": as in the checkpoint */
  readonly format: string;
  readonly command: string;
  /** The machine's load before. */
  readonly load: number;
  readonly firstTokenSeconds: number;
  readonly totalSeconds: number;
  readonly p95Seconds: number;
  readonly tokens: number;
  readonly weightBytes: number;
  readonly gpuPeakBytes: number;
  readonly residentPeakBytes: number;
  readonly loadSeconds: number;
}

export interface OutcomeRow {
  readonly name: string;
  readonly commit: string;
  readonly formats: readonly OutcomeFormat[];
}

/** bench/results/outcome.json */
export interface Outcome {
  readonly rows: readonly OutcomeRow[];
}

/** bench/results/migration.json */
export interface Migration {
  readonly testClips: number;
  readonly rows: readonly Row[];
}

/** The expectation of the migration analysis for a size. It was not measured. */
const expected: Readonly<
  Record<string, readonly [cer: string, bleu: string, seconds: string, memory: string]>
> = {
  "0.6B": ["~5 %", "none", "0.3 s", "2 GB"],
  "1.7B": ["~5 %", "~20", "0.5 s", "4 GB"],
  "4B": ["~5 %", "~25", "1.0 s", "8 GB"],
  "8B": ["~5 %", "~30", "2.0 s", "16 GB"],
};

const seconds = (value: number): string => `${value.toPrecision(2)} s`;

function bytes(value: number): string {
  return value < 1e9 ? `${(value / 1e6).toFixed(0)} MB` : `${(value / 1e9).toPrecision(3)} GB`;
}

function lines(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows;
  return [head, head.map(() => "---"), ...body].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function quality(scores: readonly Score[]): string[] {
  const of = (name: Test["name"]): Score | undefined => scores.find(({ test }) => test === name);
  const percent = (value: number | undefined): string =>
    value === undefined ? "–" : `${(100 * value).toFixed(2)} %`;
  return [
    ...(["en", "zh"] as const).map((name) => percent(of(name)?.cer)),
    ...(["en-zh", "zh-en"] as const).map((name) => {
      const score = of(name);
      return score ? `${score.bleu!.toFixed(1)} (${percent(score.cer)})` : "–";
    }),
  ];
}

function cost({
  firstTokenSeconds,
  totalSeconds,
  tokens,
  gpuPeakBytes,
  residentPeakBytes,
}: OutcomeFormat): string[] {
  return [
    `${seconds(firstTokenSeconds)} / ${seconds(totalSeconds)} (${tokens})`,
    `${bytes(gpuPeakBytes)} / ${bytes(residentPeakBytes)}`,
  ];
}

/** Rows with a measured quality: the demo, the miniature, the LLM on the true text. */
function trainedTable(migration: Migration, costs: ReadonlyMap<string, OutcomeRow>): string {
  const head = [
    "",
    ...["CER English", "CER Mandarin", "BLEU English → Chinese (CER)", "BLEU Mandarin → English (CER)"],
    ...["1 s of audio: first token / all (tokens)", "GPU memory / resident"],
  ];
  const rows = migration.rows.map(({ name, title, scores }) => {
    const found = costs.get(name)?.formats[0];
    return [title, ...quality(scores), ...(found ? cost(found) : ["–", "–"])];
  });
  return lines([head, ...rows]);
}

/** Rows of full size with random weights: the measured cost, and the expectation. */
function sizesTable(costs: ReadonlyMap<string, OutcomeRow>): string {
  const head = [
    ...["LLM", "weights", "1 s of audio: first token / all (tokens)", "GPU memory / resident"],
    "machine's load before",
    ...["expected: CER", "BLEU", "1 s of audio", "memory"],
  ];
  const order = ["bf16", "q8", "q4"];
  const rows = Object.entries(expected).flatMap(([name, guess]) =>
    [...(costs.get(name)?.formats ?? [])]
      .sort((a, b) => order.indexOf(a.format) - order.indexOf(b.format))
      .map((one) => [`Qwen3-${name}`, one.format, ...cost(one), `${one.load}`, ...guess]),
  );
  return lines([head, ...rows]);
}

/** The outcome as Markdown: quality and cost of the trained checkpoints, cost of the full sizes. */
export function outcomeTable(outcome: Outcome, migration: Migration): string {
  const costs = new Map(outcome.rows.map((row) => [row.name, row]));
  const segments = Array.from({ length: migration.testClips }, () => ({ hypothesis: "", references: [""] }));
  const signature = (tokenizer: "zh" | "13a"): string => `\`${bleu({ tokenizer }).signature(segments)}\``;
  const count = `${migration.testClips} unseen clips of each kind (${tests.length} kinds)`;
  return [
    trainedTable(migration, costs),
    `${count}; BLEU into Chinese ${signature("zh")}, into English ${signature("13a")}.`,
    sizesTable(costs),
  ].join("\n\n");
}
