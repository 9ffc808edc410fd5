/**
 * Writes the tables of results files between the marks of the pages: `npm run bench:table --
 * [bench/results/FILE]`. The performance table of docs/speed.md is of a file of bench/peers/run.ts
 * (default: the same file as before). The tables of docs/serving.md are of a file of bench/serve.ts,
 * whose name begins with serve-, of one of bench/live.ts, live-, and of clients.json. The outcome of
 * docs/migration.md is of outcome.json and migration.json.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import type { Spread } from "../src/profile/ceiling.js";
import { type Migration, type Outcome, outcomeTable } from "../experiments/migration/outcome-table.js";
import type { PeerResults } from "./peers/results.js";
import { type LiveResults, liveTable } from "./serving/live-results.js";
import type { ServeResults } from "./serving/results.js";
import { type ClientsResults, clientsTable } from "./serving/clients-table.js";
import { serveTable } from "./serving/table.js";

type Times = Readonly<Record<string, Spread>>;

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
const ratio = (value: number): string => (value >= 10 ? value.toFixed(0) : value.toFixed(2));
const times = ({ min, median, max }: Spread, scale: number, unit: string): string =>
  `${[min, median, max].map((value) => digits(value * scale)).join(" / ")} ${unit}`;

/**
 * Rows [what, aim, measured, ms of ours and theirs]: how much faster one contender is than another,
 * by the medians.
 */
function faster(what: string, aim: number, all: Times, [ours, theirs]: readonly [string, string]): string[] {
  const [a, b] = [all[ours], all[theirs]];
  if (!a || !b) return [];
  return [
    what,
    aim === 0 ? "–" : `≥ ${aim} ×`,
    `${ratio(b.median / a.median)} ×`,
    `${times(a, 1e3, "ms")}; ${times(b, 1e3, "ms")}`,
  ];
}

/**
 * Rows of a product's kernel alone and of a product among several of a step, if the run has them.
 */
function partRows(
  all: Times,
  [what, aim]: readonly [string, string],
  rate: (seconds: number) => string,
): string[][] {
  const rows: string[][] = [];
  for (const [name, time] of Object.entries(all)) {
    const [, several] = /^funasr-webgpu \w+ of (\d+)$/.exec(name) ?? [];
    if (several)
      rows.push([`${what}, among ${several} with one wait`, aim, rate(time.median), times(time, 1e3, "ms")]);
    if (name.endsWith(" kernel"))
      rows.push([`${what}, the kernel alone`, aim, rate(time.median), times(time, 1e3, "ms")]);
  }
  return rows;
}

const of = (all: Times, name: string): Times =>
  Object.fromEntries(Object.entries(all).filter(([key]) => key.startsWith(`${name} `)));

function productRows({ gemm, gemv, ceilings }: PeerResults): string[][] {
  const rows: string[][] = [];
  const [webgpu, cpu] = ["onnxruntime webgpu", "onnxruntime cpu"];
  if (gemm) {
    const what = "GEMM 128×1024×3072";
    const bf16 = gemm["funasr-webgpu bf16"];
    const share = (seconds: number): string =>
      `${((100 * 2 * 128 * 1024 * 3072) / seconds / ceilings.flops.max).toFixed(0)} %`;
    const ofPeak = `${what}, bf16, of the mul + add peak`;
    rows.push(
      [ofPeak, "≥ 25 %", share(bf16.median), times(bf16, 1e3, "ms")],
      ...partRows(of(gemm, "funasr-webgpu bf16"), [ofPeak, "≥ 25 %"], share),
      faster(`${what}, bf16 against onnxruntime's WebGPU`, 6, gemm, ["funasr-webgpu bf16", webgpu]),
      faster(`${what}, f32 against the same`, 4, gemm, ["funasr-webgpu f32", webgpu]),
      faster(`${what}, bf16 against onnxruntime's CPU`, 0.33, gemm, ["funasr-webgpu bf16", cpu]),
    );
  }
  if (gemv) {
    for (const [format, aim] of [
      ["bf16", 5],
      ["q8", 7],
      ["q4", 9],
    ] as const) {
      const time = gemv[`funasr-webgpu ${format}`];
      const rate = (seconds: number): string => `${digits((1024 * 16_384) / seconds / 1e9)} Gweights/s`;
      const row = [`GEMV 1×1024×16384, ${format}`, `≥ ${aim} Gweights/s`] as const;
      rows.push([...row, rate(time.median), times(time, 1e3, "ms")]);
      rows.push(...partRows(of(gemv, `funasr-webgpu ${format}`), row, rate));
    }
    rows.push(faster("GEMV, bf16 against onnxruntime's WebGPU", 30, gemv, ["funasr-webgpu bf16", webgpu]));
  }
  return rows;
}

function wholeRows({ fullSize, layer, llama, batch, chain, start, growth }: PeerResults): string[][] {
  const rows: string[][] = [];
  for (const [format, whole, decode] of [
    ["bf16", 0.45, 0.6],
    ["q4", 0.6, 1],
  ] as const) {
    if (!fullSize) break;
    const [ours, theirs] = [`funasr-webgpu ${format}`, "PyTorch CPU f32"];
    const what = `0.6B, ${digits(fullSize.frames * 0.06)} s of audio, ${fullSize.tokens} tokens, ${format} against PyTorch on the CPU`;
    const [a, b] = [fullSize.tokensPerSecond[ours], fullSize.tokensPerSecond[theirs]];
    rows.push(faster(what, whole, fullSize.seconds, [ours, theirs]), [
      `its tokens a second, ${format}`,
      `≥ ${decode} ×`,
      `${ratio(a.median / b.median)} ×`,
      `${times(a, 1, "a second")}; ${times(b, 1, "a second")}`,
    ]);
  }
  if (layer) {
    const what = "one Qwen3-0.6B layer, 128 rows";
    const pair = (format: string, provider: string): readonly [string, string] => [
      `funasr-webgpu ${format}`,
      `onnxruntime ${provider}`,
    ];
    for (const format of ["f32", "bf16"])
      rows.push(faster(`${what}, ${format} against onnxruntime's WebGPU`, 0, layer, pair(format, "webgpu")));
    rows.push(faster(`${what}, bf16 against onnxruntime's CPU`, 0, layer, pair("bf16", "cpu")));
  }
  if (llama) {
    const of = (times: Times): readonly [Spread, Spread] => [times["funasr-webgpu"], times["llama.cpp"]];
    const [[a, b], [c, d]] = [of(llama.tokensPerSecond), of(llama.prefillSeconds)];
    rows.push(
      [
        "the LLM alone, Q8_0 GGUF, tokens a second against llama.cpp on the CPU",
        "–",
        `${ratio(a.median / b.median)} ×`,
        `${times(a, 1, "a second")}; ${times(b, 1, "a second")}`,
      ],
      [
        `its prompt of ${llama.promptTokens} tokens`,
        "–",
        `${ratio(d.median / c.median)} ×`,
        `${times(c, 1e3, "ms")}; ${times(d, 1e3, "ms")}`,
      ],
    );
  }
  if (batch) {
    const [one, eight] = [batch["1"], batch["8"]];
    rows.push([
      "clips a second, batch of 8 against 1",
      "≥ 3 ×",
      `${ratio(eight.median / one.median)} ×`,
      `${times(eight, 1, "")}; ${times(one, 1, "")}`,
    ]);
  }
  if (chain) {
    const { engine, bare } = chain;
    rows.push([
      "300 additions against bare dispatches",
      "≤ 1.3 ×",
      `${ratio(engine.median / bare.median)} ×`,
      `${times(engine, 1e3, "ms")}; ${times(bare, 1e3, "ms")}`,
    ]);
  }
  if (start) {
    const cold = start.coldSeconds;
    rows.push(
      [
        "`transcribe`, second process, first words",
        "≤ 1.5 s",
        `${digits(start.firstOutput.median)} s`,
        `cold cache ${digits(cold.first)} s`,
      ],
      [
        "the same, whole process",
        "≤ 3 s",
        `${digits(start.whole.median)} s`,
        `cold cache ${digits(cold.whole)} s`,
      ],
    );
  }
  if (growth) {
    const points = new Map(growth.decode.points);
    const more = (points.get(1024) ?? NaN) / (points.get(64) ?? NaN) - 1;
    const { encoder, prefill, decode } = growth;
    const exponents = `time grows as encoder T^${encoder.exponent}, prompt S^${prefill.exponent}, token cache^${decode.exponent}`;
    rows.push([
      "a token at 1,024 cached against 64",
      "< 25 % more",
      `${(100 * more).toFixed(0)} %`,
      exponents,
    ]);
  }
  return rows;
}

/** The table, and a line on the run that it is of. */
export function benchTable(results: PeerResults, file: string): string {
  const { machine, rounds, rest, ceilings, fullSize } = results;
  const head = ["work", "aim", "measured", "min / median / max; the other's"];
  const rows = [...productRows(results), ...wholeRows(results)].filter((row) => row.length > 0);
  const lines = [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
  const { bandwidth, flops, dispatch } = ceilings;
  const about =
    `Of \`${file}\`: one run, contenders in turn${rest === undefined ? "" : `, each after ${rest} ms of rest`}, ${rounds} rounds, on ${machine.driver}, ${machine.cores} cores of ${machine.cpu}` +
    `${machine.load === undefined ? "" : ` (load ${machine.load})`}, node ${machine.node}, Dawn ${machine.dawn}${fullSize ? `, ${fullSize.versions}` : ""}, commit ${machine.commit}; copies ${digits(bandwidth.max / 1e9)} GB/s, ` +
    `mul + add ${digits(flops.max / 1e9)} GFLOP/s, a dispatch ${digits(dispatch.median * 1e6)} µs.`;
  return [about, "", ...lines].join("\n");
}

const read = (file: string): unknown =>
  JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), "utf8"));

/**
 * Replaces the text between two marks `<!-- NAME: FILE -->` and `<!-- /NAME -->`.
 * @throws Error  no marks
 */
function between(text: string, name: string, make: (file: string) => readonly [string, string]): string {
  const marks = new RegExp(`<!-- ${name}: (\\S+) -->\\n[^]*?\\n<!-- /${name} -->`);
  const found = marks.exec(text);
  if (!found) throw new Error(`bench-table: expected two marks of ${name} in the text, got none`);
  const [file, table] = make(found[1]);
  const whole = [
    `<!-- ${name}: ${file} -->\n<!-- prettier-ignore-start -->`,
    table,
    `<!-- prettier-ignore-end -->\n<!-- /${name} -->`,
  ];
  return text.replace(marks, () => whole.join("\n\n"));
}

/** docs/speed.md with the performance table of `file`, or of the file that it is of. */
export function withTable(text: string, file?: string): string {
  return between(text, "bench", (old) => {
    const chosen = file ?? old;
    return [chosen, benchTable(read(chosen) as PeerResults, chosen)];
  });
}

/** A text with the outcome's tables of the committed results. */
export function withOutcome(text: string): string {
  return between(text, "outcome", (file) => [
    file,
    outcomeTable(read(file) as Outcome, read("bench/results/migration.json") as Migration),
  ]);
}

/** docs/serving.md with the tables of `file`, or of the file that they are of, and that of clients. */
export function withServing(text: string, file?: string): string {
  const loaded = between(text, "serve", (old) => {
    const chosen = file ?? old;
    return [chosen, serveTable(read(chosen) as ServeResults, chosen)];
  });
  return between(loaded, "clients", (name) => [name, clientsTable(read(name) as ClientsResults, name)]);
}

/** docs/serving.md with the table of live speech of `file`, or of the file that it is of. */
export function withLive(text: string, file?: string): string {
  return between(text, "live", (old) => {
    const chosen = file ?? old;
    return [chosen, liveTable(read(chosen) as LiveResults, chosen)];
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const edit = (name: string, change: (text: string) => string): void => {
    const url = new URL(`../${name}`, import.meta.url);
    writeFileSync(url, change(readFileSync(url, "utf8")));
  };
  const file = process.argv[2];
  const begins = (kind: string): boolean => file !== undefined && basename(file).startsWith(`${kind}-`);
  const ofKind = (kind: string): string | undefined => (begins(kind) ? file : undefined);
  edit("docs/speed.md", (text) => withTable(text, begins("serve") || begins("live") ? undefined : file));
  edit("docs/serving.md", (text) => withLive(withServing(text, ofKind("serve")), ofKind("live")));
  edit("docs/migration.md", withOutcome);
}
