/**
 * Times kernels on this machine's WebGPU device: `npm run bench`. Rounds of all cases follow each other, so that a change
 * in the machine's speed meets all of them. Prints a table and writes bench/results/<device>-<commit>.json.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { Bench, type TaskResult } from "tinybench";
import { fromFloat32 } from "../src/checkpoint/dtypes.js";
import type { Gpu } from "../src/gpu/device.js";
import { type Matrix, keepMatrix, writeMatrix } from "../src/gpu/matrix.js";
import { makeSegments } from "../src/gpu/segments.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { add } from "../src/kernels/add/add.js";
import { attention } from "../src/kernels/attention/attention.js";
import { fsmn } from "../src/kernels/fsmn/fsmn.js";
import { layerNorm } from "../src/kernels/layer-norm/layer-norm.js";
import { linear } from "../src/kernels/linear/linear.js";
import { rmsNorm } from "../src/kernels/rms-norm/rms-norm.js";
import { openDevice } from "../src/node/device.js";

interface Case {
  readonly name: string;
  /** Multiplications and additions of one call, counted from shapes; 0 where memory decides. */
  readonly flops: number;
  /** Bytes read and written by one call, each array once, counted from shapes. */
  readonly bytes: number;
  readonly run: () => void;
}

const rounds = 10;

function uniform(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898) % 1);
}

function keep(gpu: Gpu, shape: readonly number[]): Tensor {
  const tensor = gpu.keep(shape, "f32");
  gpu.write(tensor, uniform(tensor.bytes / 4) as Float32Array<ArrayBuffer>);
  return tensor;
}

function keepBf16(gpu: Gpu, rows: number, columns: number): Matrix {
  const matrix = keepMatrix(gpu, rows, columns, "bf16");
  writeMatrix(gpu, matrix, fromFloat32(uniform(rows * columns), "BF16") as Uint8Array<ArrayBuffer>);
  return matrix;
}

function linearCase(gpu: Gpu, m: number, k: number, n: number): Case {
  const x = keep(gpu, [m, k]);
  const w = keepBf16(gpu, n, k);
  const bytes = 4 * m * k + 2 * n * k + 4 * m * n;
  return { name: `linear ${m}x${k}x${n} bf16`, flops: 2 * m * k * n, bytes, run: () => linear(gpu, x, w) };
}

function attentionCase(gpu: Gpu, rows: number, heads: number, headDim: number): Case {
  const width = heads * headDim;
  const [q, k, v] = [keep(gpu, [rows, width]), keep(gpu, [rows, width]), keep(gpu, [rows, width])];
  const run = (): void => {
    const { ranges, tiles } = makeSegments(gpu, [rows]);
    attention(gpu, q, k, v, { heads, ranges, tiles });
  };
  const flops = 4 * rows * rows * width;
  return {
    name: `attention ${rows} rows, ${heads} heads of ${headDim}`,
    flops,
    bytes: 16 * rows * width,
    run,
  };
}

function rowCases(gpu: Gpu, rows: number, width: number): Case[] {
  const x = keep(gpu, [rows, width]);
  const gamma = keep(gpu, [width]);
  const taps = keep(gpu, [width, 1, 11]);
  const bytes = 8 * rows * width;
  const memory = (): void => {
    fsmn(gpu, x, taps, makeSegments(gpu, [rows]).ranges);
  };
  return [
    { name: `layer-norm ${rows}x${width}`, flops: 0, bytes, run: () => layerNorm(gpu, x, gamma, gamma) },
    { name: `rms-norm ${rows}x${width}`, flops: 0, bytes, run: () => rmsNorm(gpu, x, gamma) },
    { name: `fsmn ${rows}x${width}`, flops: 22 * rows * width, bytes, run: memory },
    { name: `add ${rows}x${width}`, flops: 0, bytes: 12 * rows * width, run: () => add(gpu, x, x) },
  ];
}

function report({ name, flops, bytes }: Case, result: TaskResult): Record<string, string | number> {
  if (!("latency" in result)) throw new Error(`${name}: ${result.state}`);
  const { min, p50, max } = result.latency; // ms
  return {
    kernel: name,
    minMs: Number(min.toFixed(3)),
    medianMs: Number(p50.toFixed(3)),
    maxMs: Number(max.toFixed(3)),
    medianGflops: Number((flops / p50 / 1e6).toFixed(2)),
    medianGBs: Number((bytes / p50 / 1e6).toFixed(2)),
  };
}

const { gpu, adapter } = await openDevice();
const cases = [
  linearCase(gpu, 128, 1024, 3072),
  linearCase(gpu, 67, 512, 2048),
  linearCase(gpu, 1, 1024, 16384),
  attentionCase(gpu, 67, 4, 128),
  attentionCase(gpu, 333, 4, 128),
  ...rowCases(gpu, 67, 512),
];
const bench = new Bench({
  time: 0,
  iterations: rounds,
  warmupTime: 0,
  warmupIterations: 2,
  concurrency: null,
});
for (const { name, run } of cases) {
  bench.add(name, async () => {
    await gpu.step(() => {
      run();
      return [];
    });
    await gpu.finish();
  });
}
await bench.run();
const rows = cases.map((one, i) => report(one, bench.tasks[i].result));
console.table(rows);
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
const device = adapter.device.replaceAll(/[^a-z0-9]+/gi, "-").replaceAll(/^-|-$/g, "");
mkdirSync(new URL("results", import.meta.url), { recursive: true });
const file = `bench/results/${device}-${commit}.json`;
const { vendor, architecture, description } = adapter;
const about = {
  vendor,
  architecture,
  device: adapter.device,
  description,
  node: process.version,
  commit,
  rounds,
};
writeFileSync(file, `${JSON.stringify({ ...about, kernels: rows }, null, 1)}\n`);
console.log(`wrote ${file}`);
gpu.destroy();
