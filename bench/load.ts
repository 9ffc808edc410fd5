/**
 * Loading speed and memory: `npm run bench:load -- DIR [--weights FORMAT] [--rounds N]`. Each round, in turn, on warm files:
 * `cat FILES > /dev/null`; one memcpy of as many bytes into fresh memory; the engine's load, in a process of its own.
 * Told is the ratio of (cat + memcpy) to the load, and the load's peak resident memory over the bytes of its GPU buffers
 * (on a software adapter those are resident too) and over what the process held before.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../src/checkpoint/checkpoint.js";
import { loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import type { WeightFormat } from "../src/model/parameters.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    weights: { type: "string" },
    rounds: { type: "string", default: "5" },
    child: { type: "boolean", default: false },
  },
});
const [directory] = positionals;
if (!directory) throw new Error("bench/load: expected a checkpoint directory");

function weightFiles(): string[] {
  const names = readdirSync(directory).filter((name) => /\.(safetensors|pt|gguf)$/.test(name));
  return names.map((name) => join(directory, name));
}

/** Peak resident memory of this process, bytes. @source proc(5), VmHWM */
function peakResident(): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}

interface Loaded {
  readonly seconds: number;
  readonly gpuBytes: number;
  readonly before: number;
  readonly peak: number;
}

async function load(): Promise<Loaded> {
  const { gpu } = await openDevice();
  const checkpoint = await openCheckpoint(modelDirectory(directory));
  const before = process.memoryUsage().rss;
  const start = performance.now();
  const model = await loadFunAsrNano(gpu, checkpoint.config, checkpoint, {
    weights: values.weights as WeightFormat | undefined,
  });
  const seconds = (performance.now() - start) / 1000;
  const { reserved: gpuBytes } = gpu.bytes;
  await checkpoint.close();
  const peak = peakResident();
  model.free();
  gpu.destroy();
  return { seconds, gpuBytes, before, peak };
}

function timeCat(): number {
  const start = performance.now();
  execFileSync("sh", ["-c", 'exec cat "$@" > /dev/null', "sh", ...weightFiles()]);
  return (performance.now() - start) / 1000;
}

/** Seconds to copy this many bytes into memory that was never touched. */
function timeCopy(bytes: number): number {
  const piece = Buffer.alloc(64 << 20, 1);
  const target = Buffer.allocUnsafeSlow(bytes);
  const start = performance.now();
  for (let at = 0; at < bytes; at += piece.length)
    piece.copy(target, at, 0, Math.min(piece.length, bytes - at));
  return (performance.now() - start) / 1000;
}

function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[list.length >> 1];
}

function loadInChild(): Loaded {
  const flags = values.weights === undefined ? [] : ["--weights", values.weights];
  const args = [...process.execArgv, process.argv[1], directory, "--child", ...flags];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Loaded;
}

function bench(): void {
  const bytes = weightFiles().reduce((sum, file) => sum + statSync(file).size, 0);
  const rounds: (Loaded & { cat: number; copy: number })[] = [];
  timeCat(); // warms the files
  for (let i = 0; i < Number(values.rounds); i++) {
    rounds.push({
      cat: timeCat(),
      copy: timeCopy(Math.min(bytes, 2 ** 31)) * (bytes / Math.min(bytes, 2 ** 31)),
      ...loadInChild(),
    });
  }
  const ratios = rounds.map((r) => (r.cat + r.copy) / r.seconds);
  const over = rounds.map((r) => r.peak - r.gpuBytes);
  const result = {
    model: basename(directory),
    weights: values.weights ?? "as stored",
    fileBytes: bytes,
    gpuBytes: rounds[0].gpuBytes,
    medianCatSeconds: median(rounds.map((r) => r.cat)),
    medianCopySeconds: median(rounds.map((r) => r.copy)),
    medianLoadSeconds: median(rounds.map((r) => r.seconds)),
    ratio: { min: Math.min(...ratios), median: median(ratios), max: Math.max(...ratios) },
    peakOverGpuBytes: median(over),
    ofWhichBeforeLoading: median(rounds.map((r) => r.before)),
  };
  console.log(JSON.stringify(result, null, 1));
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  mkdirSync("bench/results", { recursive: true });
  writeFileSync(
    `bench/results/load-${basename(directory)}-${values.weights ?? "stored"}-${commit}.json`,
    `${JSON.stringify(result, null, 1)}\n`,
  );
}

if (values.child) console.log(JSON.stringify(await load()));
else bench();
