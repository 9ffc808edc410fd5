import type { Quantiles } from "./results.js";

/** Streams of one number and speed. */
export interface LiveResult {
  readonly streams: number;
  /** Of the feed: 1 is real time. */
  readonly speed: number;
  /** Seconds from a segment's end of speech, as the server found it, to its final text. */
  readonly final: Quantiles;
  /** Seconds from a word's end to its being stable, of words that were so before the final text. */
  readonly stable: Quantiles;
  /** Words of the final texts, and those among them that were stable before. */
  readonly words: number;
  readonly early: number;
  /** Final texts, those that equal the text of the clip alone, and clips without one. */
  readonly finals: number;
  readonly equal: number;
  readonly missing: number;
  /** Segments whose final text does not begin with what was stable. */
  readonly retracted: number;
  /** Seconds from the first sample to the last final text, over seconds of audio; mean of streams. */
  readonly realTimeFactor: number;
}

/** A file of `npm run bench:live`. */
export interface LiveResults {
  readonly command: string;
  readonly commit: string;
  readonly adapter: string;
  readonly node: string;
  readonly cores: number;
  readonly cpu: string;
  /** Load averages of the machine over 1 minute, before and after. */
  readonly load: readonly [number, number];
  readonly clips: number;
  readonly audioSeconds: number;
  /** Between two clips. */
  readonly pauseSeconds: number;
  readonly runs: readonly LiveResult[];
}

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** The table of a file of `npm run bench:live`, and a line on the run. */
export function liveTable(results: LiveResults, file?: string): string {
  const { clips, audioSeconds, pauseSeconds, load, cores, cpu, adapter, node, commit, runs } = results;
  const about =
    `${file === undefined ? "One run" : `Of \`${file}\`: one run`} of \`npm run bench:live\` with the demo model. Each stream has the demo's ${clips} clips with ${pauseSeconds} s of silence between (${digits(audioSeconds)} s), ` +
    `on ${adapter}, ${cores} cores of ${cpu} (load ${load.map((value) => value.toFixed(1)).join(" to ")}), node ${node}, commit ${commit}. Clients, server and engine share the cores.`;
  const head = [
    "streams, speed",
    "final text after the end of speech: median / p95, s",
    "stable word after its end: median / p95, s",
    "words stable before the final text",
    "final texts equal to the clip's alone",
    "retracted stable texts",
    "seconds a second of audio",
  ];
  const rows = runs.map((run) => [
    `${run.streams}, ${run.speed} ×`,
    `${digits(run.final.p50)} / ${digits(run.final.p95)}`,
    run.early === 0 ? "–" : `${digits(run.stable.p50)} / ${digits(run.stable.p95)}`,
    `${run.early} of ${run.words}`,
    `${run.equal} of ${run.finals}${run.missing > 0 ? `, ${run.missing} missing` : ""}`,
    `${run.retracted}`,
    digits(run.realTimeFactor),
  ]);
  const lines = [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
  return [about, lines.join("\n")].join("\n\n");
}
