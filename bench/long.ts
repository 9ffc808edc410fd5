/**
 * Measures `transcribe` on a long recording with its reference: `npm run bench:long -- DIR
 * [--rounds N] [--model DIR] [--write]`. bench/long_recording.py makes DIR.
 * Each round transcribes, in processes of their own and in turn: the recording; the same segments
 * in batches; the same segments one by one (--batch 1). Once: its first 30 s, and the sentences cut
 * by hand. It prints the CER of the whole text and of the sentences cut by hand, the characters in
 * pauses, and the cues that other parsers read of its SRT and VTT. It also prints the multiple of
 * real time, the ratio of one by one to batches (medians), and peak resident memory.
 * --write adds bench/results/long-DEVICE-COMMIT.json.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { characterErrorRate } from "../src/evaluate/metrics/cer.js";
import { demoModel } from "../src/node/demo.js";
import { commitName, deviceName, writeResult } from "./result.js";
import { openDevice } from "../src/node/device.js";
import { parsedCues } from "./subtitle-parsers.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "3" },
    model: { type: "string", default: demoModel },
    write: { type: "boolean", default: false },
  },
});
const [directory] = positionals;
if (!directory) throw new Error("bench/long: expected a directory of bench/long_recording.py");
const recording = join(directory, "long.wav");

interface Segment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

interface Transcript {
  readonly text: string;
  readonly audioSeconds: number;
  readonly seconds: Readonly<Record<string, number>>;
  readonly segments: readonly Segment[];
}

interface Run {
  readonly lines: readonly string[];
  /** Seconds of the process, start and loading included. */
  readonly wall: number;
  readonly cpu: number;
  /** Peak resident bytes. */
  readonly peak: number;
}

/** Runs the command line under GNU time. */
function run(...args: string[]): Run {
  const began = performance.now();
  const command = ["-f", "TIME %M %U %S", process.execPath, "bin/funasr-webgpu.js", ...args];
  const { stdout, stderr, status } = spawnSync("/usr/bin/time", command, {
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  const [, peak, user, system] = /^TIME (\d+) ([\d.]+) ([\d.]+)$/m.exec(stderr) ?? [];
  if (status !== 0) throw new Error(`bench/long: ${args.join(" ")}: exit code ${status}: ${stderr}`);
  return {
    lines: stdout.trimEnd().split("\n"),
    wall: (performance.now() - began) / 1000,
    cpu: Number(user) + Number(system),
    peak: 1024 * Number(peak),
  };
}

const transcribe = (file: string, ...options: string[]): Run =>
  run("transcribe", "--json", "--quiet", "--model", values.model, ...options, file);
const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/** Characters in segments that touch no sentence. */
function heardInPauses(segments: readonly Segment[], sentences: readonly Segment[]): number {
  const touches = (a: Segment, b: Segment): boolean => a.start < b.end && b.start < a.end;
  const invented = segments.filter((segment) => !sentences.some((sentence) => touches(segment, sentence)));
  return invented.reduce((sum, { text }) => sum + text.length, 0);
}

/** The first 30 s as a file of their own. */
function firstSeconds(folder: string): string {
  const bytes = Buffer.alloc(44 + 30 * 32_000);
  readSync(openSync(recording, "r"), bytes, 0, bytes.length, 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.writeUInt32LE(bytes.length - 44, 40);
  const file = join(folder, "first.wav");
  writeFileSync(file, bytes);
  return file;
}

const { sentences } = JSON.parse(readFileSync(join(directory, "long.json"), "utf8")) as {
  sentences: readonly Segment[];
};
const cut = readFileSync(join(directory, "cut.jsonl"), "utf8").trimEnd().split("\n");
const clips = cut.map((line) => JSON.parse(line) as { readonly audio: string; readonly text: string });
const folder = mkdtempSync(join(tmpdir(), "bench-long-"));
try {
  const [whole, together, alone]: [Run[], Run[], Run[]] = [[], [], []];
  const segmentsFile = join(folder, "segments.json");
  for (let round = 0; round < Number(values.rounds); round++) {
    whole.push(transcribe(recording));
    writeFileSync(segmentsFile, whole[0].lines[0]);
    together.push(transcribe(recording, "--segments", segmentsFile));
    alone.push(transcribe(recording, "--segments", segmentsFile, "--batch", "1"));
  }
  const short = transcribe(firstSeconds(folder), "--vad", "off");
  const byHand = clips.map(({ audio }) => join(directory, audio));
  const hand = run("transcribe", "--json", "--quiet", "--model", values.model, "--batch", "8", ...byHand);
  const heard = hand.lines.map((line) => (JSON.parse(line) as { text: string }).text);
  const result = JSON.parse(whole[0].lines[0]) as Transcript;
  const again = JSON.parse(alone[0].lines[0]) as Transcript;
  const { gpu, adapter } = await openDevice({ quiet: true });
  gpu.destroy();
  const cer = characterErrorRate([[sentences.map(({ text }) => text).join(" "), result.text]]);
  const handCer = characterErrorRate(clips.map(({ text }, i) => [text, heard[i]] as const));
  const [seconds, inBatches, oneByOne] = [whole, together, alone].map((runs) =>
    median(runs.map(({ wall }) => wall)),
  );
  const report = {
    command: "npm run bench:long",
    commit: commitName(),
    adapter: adapter.description,
    audioSeconds: result.audioSeconds,
    sentences: sentences.length,
    segments: result.segments.length,
    cer: cer.rate,
    cerByHand: handCer.rate,
    charactersInPauses: heardInPauses(result.segments, sentences),
    subtitles: parsedCues(result.segments, folder),
    sameTextsOneByOne: result.segments.every(({ text }, i) => text === again.segments[i].text),
    wallSeconds: {
      recording: whole.map(({ wall }) => wall),
      inBatches: together.map(({ wall }) => wall),
      oneByOne: alone.map(({ wall }) => wall),
    },
    timesRealTime: result.audioSeconds / seconds,
    batchingGain: oneByOne / inBatches,
    peakBytes: { recording: Math.max(...whole.map(({ peak }) => peak)), thirtySeconds: short.peak },
  };
  console.log(JSON.stringify(report, null, 1));
  if (values.write) console.log(writeResult(`long-${deviceName(adapter)}-${commitName()}`, report));
} finally {
  rmSync(folder, { recursive: true });
}
