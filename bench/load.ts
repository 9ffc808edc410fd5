/**
 * Measures loading speed and memory: `npm run bench:load -- DIR [--weights FORMAT] [--rounds N]`.
 * Each round runs three things in turn, on warm files: `cat FILES > /dev/null`; one memcpy of as
 * many bytes into fresh memory; the engine's load, in a process of its own.
 * Prints the ratio of (cat + memcpy) to the load, in wall time and in processor time (for a busy
 * machine), and the load's peak resident memory beyond the bytes of its GPU buffers (on a software
 * adapter those are resident too) and beyond the memory of the process before.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../src/checkpoint/checkpoint.js";
import { loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import type { WeightFormat } from "../src/weights/loader.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";
import { commitName, writeResult } from "./result.js";

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
  readonly cpuSeconds: number;
  readonly gpuBytes: number;
  readonly before: number;
  readonly peak: number;
}

async function load(): Promise<Loaded> {
  const { gpu } = await openDevice();
  const checkpoint = await openCheckpoint(modelDirectory(directory));
  const before = process.memoryUsage().rss;
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const model = await loadFunAsrNano(gpu, checkpoint.config, checkpoint, {
    weights: values.weights as WeightFormat | undefined,
  });
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - start) / 1000;
  const { reserved: gpuBytes } = gpu.bytes;
  await checkpoint.close();
  const peak = peakResident();
  model.free();
  gpu.destroy();
  return { seconds, cpuSeconds: (user + system) / 1e6, gpuBytes, before, peak };
}

/** Seconds of wall and of processor time. */
type Times = readonly [wall: number, cpu: number];

function timeCat(): Times {
  const start = performance.now();
  const said = execFileSync("sh", ["-c", 'cat "$@" > /dev/null; times', "sh", ...weightFiles()], {
    encoding: "utf8",
  });
  const ofCat = [...said.split("\n")[1].matchAll(/(\d+)m([\d.]+)s/g)];
  const cpu = ofCat.reduce((sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds), 0);
  return [(performance.now() - start) / 1000, cpu];
}

/** Copying this many bytes into memory that was never touched. */
function timeCopy(bytes: number): Times {
  const piece = Buffer.alloc(64 << 20, 1);
  const target = Buffer.allocUnsafeSlow(bytes);
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  for (let at = 0; at < bytes; at += piece.length)
    piece.copy(target, at, 0, Math.min(piece.length, bytes - at));
  const { user, system } = process.cpuUsage(cpu);
  return [(performance.now() - start) / 1000, (user + system) / 1e6];
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
  const rounds: (Loaded & { cat: Times; copy: Times })[] = [];
  timeCat(); // warms the files
  for (let i = 0; i < Number(values.rounds); i++) {
    const copied = Math.min(bytes, 2 ** 31);
    const [wall, cpu] = timeCopy(copied);
    const copy: Times = [wall * (bytes / copied), cpu * (bytes / copied)];
    rounds.push({ cat: timeCat(), copy, ...loadInChild() });
  }
  const spread = (list: number[]): object => ({
    min: Math.min(...list),
    median: median(list),
    max: Math.max(...list),
  });
  const over = rounds.map((r) => r.peak - r.gpuBytes);
  const result = {
    model: basename(directory),
    weights: values.weights ?? "as stored",
    fileBytes: bytes,
    gpuBytes: rounds[0].gpuBytes,
    medianCatSeconds: median(rounds.map((r) => r.cat[0])),
    medianCopySeconds: median(rounds.map((r) => r.copy[0])),
    medianLoadSeconds: median(rounds.map((r) => r.seconds)),
    medianLoadCpuSeconds: median(rounds.map((r) => r.cpuSeconds)),
    ratio: spread(rounds.map((r) => (r.cat[0] + r.copy[0]) / r.seconds)),
    cpuRatio: spread(rounds.map((r) => (r.cat[1] + r.copy[1]) / r.cpuSeconds)),
    peakOverGpuBytes: median(over),
    ofWhichBeforeLoading: median(rounds.map((r) => r.before)),
  };
  console.log(JSON.stringify(result, null, 1));
  writeResult(`load-${basename(directory)}-${values.weights ?? "stored"}-${commitName()}`, result);
}

if (values.child) console.log(JSON.stringify(await load()));
else bench();
