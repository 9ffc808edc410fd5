/**
 * Compares this engine with its peers, in one run: `npm run bench:peers -- --model DIR [--rounds N]
 * [--only A,B] [--python PATH]`, after `npm run bench:install`. golden/fullsize/prove.py makes DIR.
 * Contenders take turns. Writes bench/results/peers-<device>-<commit>.json; `npm run bench:table`
 * makes the table of docs/speed.md from it.
 * --only takes products, chain, start, growth, batch, full, layer (whose Python needs onnx and
 * onnxscript too). --gguf FILE adds the LLM alone against llama.cpp; --llama-python is a Python
 * that has llama-cpp-python.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openDevice } from "../../src/node/device.js";
import { type Spread, measureCeilings, spread } from "../../src/profile/ceiling.js";
import { timeBatches, timeFullSize } from "./full-size.js";
import { measureGrowth } from "./growth.js";
import { deviceName, writeResult } from "../result.js";
import { machine, rest, roundedSpread } from "./harness.js";
import { timeProduct } from "./products.js";
import { timeLayer } from "./layer.js";
import { timeLlama } from "./llama.js";
import type { PeerResults } from "./results.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: "string" },
    rounds: { type: "string", default: "10" },
    only: { type: "string", default: "products,chain,start,growth,batch,full,layer" },
    python: { type: "string", default: join(root, "golden/.venv/bin/python") },
    gguf: { type: "string" },
    "llama-python": { type: "string", default: "python3" },
    out: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const wanted = new Set(values.only.split(","));

/**
 * Seconds of `transcribe` of a demo clip in a process of its own, to its first output and to its
 * end.
 */
function start(cache: string): { first: number; whole: number } {
  const began = performance.now();
  const script = `
const { spawn } = require("node:child_process");
const began = performance.now();
const child = spawn(process.execPath, ["bin/funasr-webgpu.js", "transcribe", "models/demo/clips/en-seen-1.wav"], { stdio: ["ignore", "pipe", "ignore"] });
let first;
child.stdout.once("data", () => (first = performance.now() - began));
child.on("exit", (code) => { if (code !== 0) process.exit(1); console.log(JSON.stringify({ first, whole: performance.now() - began })); });`;
  const environment = { ...process.env, MESA_SHADER_CACHE_DIR: cache };
  const out = execFileSync(process.execPath, ["-e", script], {
    cwd: root,
    env: environment,
    encoding: "utf8",
  });
  const { first, whole } = JSON.parse(out) as { first: number; whole: number };
  if (!(performance.now() - began >= whole)) throw new Error("start: a clock that runs backwards");
  return { first: first / 1000, whole: whole / 1000 };
}

function timeStart(): NonNullable<PeerResults["start"]> {
  const cache = mkdtempSync(join(tmpdir(), "shader-cache-"));
  try {
    const cold = start(cache);
    const warm = Array.from({ length: rounds }, () => start(cache));
    const of = (value: (run: { first: number; whole: number }) => number): Spread =>
      roundedSpread(spread(warm.map(value)));
    return { coldSeconds: cold, firstOutput: of(({ first }) => first), whole: of(({ whole }) => whole) };
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}

const { gpu, adapter } = await openDevice({ timestamps: true });
const ceilings = await measureCeilings(gpu);
const results: PeerResults = {
  machine: machine(adapter),
  rounds,
  rest,
  ceilings: {
    bandwidth: roundedSpread(ceilings.bandwidth),
    flops: roundedSpread(ceilings.flops),
    dispatch: roundedSpread(ceilings.dispatch),
    readback: roundedSpread(ceilings.readback),
  },
};
const file = values.out ?? `bench/results/peers-${deviceName(adapter)}-${results.machine.commit}.json`;

/** Reports the next measurement, and writes the results so far. */
function note(text: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
  writeResult(basename(file, ".json"), results, dirname(file));
}

if (wanted.has("products")) {
  note("GEMM");
  results.gemm = await timeProduct(gpu, [128, 1024, 3072], ["f32", "bf16"], rounds);
  note("GEMV");
  results.gemv = await timeProduct(gpu, [1, 1024, 16_384], ["f32", "bf16", "q8", "q4"], rounds);
}
if (wanted.has("chain")) {
  note("chain of dispatches");
  const { timeChain } = await import("./chain.js");
  results.chain = await timeChain(gpu, rounds);
}
if (wanted.has("start")) {
  note("start");
  results.start = timeStart();
}
if (wanted.has("growth")) {
  note("growth");
  results.growth = await measureGrowth(gpu, rounds);
}
if (values.model !== undefined && wanted.has("batch")) {
  note("batches");
  results.batch = await timeBatches(gpu, values.model, "bf16", { seconds: 4, rounds: Math.min(rounds, 5) });
}
if (values.model !== undefined && wanted.has("full")) {
  note("full size");
  const options = { python: values.python, formats: ["bf16", "q4"] as const, seconds: 4, rounds };
  results.fullSize = await timeFullSize(gpu, values.model, options);
}
if (values.model !== undefined && wanted.has("layer")) {
  note("one layer");
  results.layer = await timeLayer(gpu, values.model, { python: values.python, rounds });
}
if (values.gguf !== undefined) {
  note("llama.cpp");
  results.llama = await timeLlama(gpu, values.gguf, { python: values["llama-python"], rounds });
}
note("done");
console.log(file);
gpu.destroy();
