/**
 * Times kernels on this machine's WebGPU device: `npm run bench`. Rounds of all cases alternate, so
 * a change in the machine's speed affects all of them. Prints a table and writes
 * bench/results/<device>-<commit>.json.
 */
import { Bench, type TaskResult } from "tinybench";
import type { Gpu } from "../src/gpu/device.js";
import {
  type Matrix,
  type WeightFormat,
  keepMatrix,
  rowBytes,
  rowScaleBytes,
  writeMatrix,
  writeScales,
} from "../src/gpu/matrix.js";
import { makeSegments } from "../src/kernels/attention/segments.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { add } from "../src/kernels/add/add.js";
import { attention } from "../src/kernels/attention/attention.js";
import { fsmn } from "../src/kernels/fsmn/fsmn.js";
import { layerNorm } from "../src/kernels/layer-norm/layer-norm.js";
import { linear } from "../src/kernels/linear/linear.js";
import { rmsNorm } from "../src/kernels/rms-norm/rms-norm.js";
import { convertPiece } from "../src/weights/pieces.js";
import { openDevice } from "../src/node/device.js";
import { type Case, ceilingCases, copyName, mulAddName } from "./ceiling.js";
import { commitName, deviceName, writeResult } from "./result.js";

const rounds = 10;

function uniform(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898) % 1);
}

function keep(gpu: Gpu, shape: readonly number[]): Tensor {
  const tensor = gpu.keep(shape, "f32");
  gpu.write(tensor, uniform(tensor.bytes / 4) as Float32Array<ArrayBuffer>);
  return tensor;
}

/** A matrix of these values in a storage format. */
function keepWeights(gpu: Gpu, rows: number, columns: number, format: WeightFormat): Matrix {
  const matrix = keepMatrix(gpu, rows, columns, format);
  const bytes = new Uint8Array(uniform(rows * columns).buffer as ArrayBuffer);
  const { weights, scales } = convertPiece(bytes, "F32", format);
  writeMatrix(gpu, matrix, weights);
  if (scales) writeScales(gpu, matrix, scales);
  return matrix;
}

function linearCase(gpu: Gpu, [m, k, n]: readonly number[], format: WeightFormat): Case {
  const x = keep(gpu, [m, k]);
  const w = keepWeights(gpu, n, k, format);
  const bytes = 4 * m * k + n * (rowBytes(k, format) + rowScaleBytes(k, format)) + 4 * m * n;
  const run = (): void => void linear(gpu, x, w);
  return { name: `linear ${m}x${k}x${n} ${format}`, flops: 2 * m * k * n, bytes, weights: k * n, run };
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

type Row = Record<string, string | number>;

function report({ name, flops, bytes, weights = 0 }: Case, result: TaskResult, cpu: number): Row {
  if (!("latency" in result)) throw new Error(`${name}: ${result.state}`);
  const { min, p50, max } = result.latency; // ms
  const round = (value: number): number => Number(value.toFixed(3));
  return {
    kernel: name,
    minMs: round(min),
    medianMs: round(p50),
    maxMs: round(max),
    minCpuMs: round(cpu),
    bestGflops: round(flops / min / 1e6),
    medianGflops: round(flops / p50 / 1e6),
    bestGBs: round(bytes / min / 1e6),
    medianGBs: round(bytes / p50 / 1e6),
    bestGweights: round(weights / min / 1e6),
  };
}

/** Adds each row's share of the ceilings of the same run, best against best. */
function withShares(rows: readonly Row[]): Row[] {
  const peak = (name: string, field: string): number => Number(rows.find((r) => r.kernel === name)![field]);
  const [gflops, bandwidth] = [peak(mulAddName, "bestGflops"), peak(copyName, "bestGBs")];
  const percent = (value: string | number, of: number): number =>
    Number(((100 * Number(value)) / of).toFixed(1));
  return rows.map((row) => ({
    ...row,
    percentOfMulAdd: percent(row.bestGflops, gflops),
    percentOfCopy: percent(row.bestGBs, bandwidth),
  }));
}

const formats = ["f32", "bf16", "f16", "q8", "q4"] as const;
const { gpu, adapter } = await openDevice();
const cases = [
  ...ceilingCases(gpu),
  ...formats.map((format) => linearCase(gpu, [128, 1024, 3072], format)),
  linearCase(gpu, [67, 512, 2048], "bf16"),
  linearCase(gpu, [8, 1024, 3072], "bf16"),
  ...formats.map((format) => linearCase(gpu, [1, 1024, 16384], format)),
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
const cpu = cases.map(() => Infinity); // least CPU time of a call, all threads, ms: a busy machine changes it less than time
for (const [i, { name, run }] of cases.entries()) {
  bench.add(name, async () => {
    const before = process.cpuUsage();
    await gpu.step(() => {
      run();
      return [];
    });
    await gpu.finish();
    const { user, system } = process.cpuUsage(before);
    cpu[i] = Math.min(cpu[i], (user + system) / 1000);
  });
}
await bench.run();
const rows = withShares(cases.map((one, i) => report(one, bench.tasks[i].result, cpu[i])));
console.table(rows);
const commit = commitName();
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
const file = writeResult(`${deviceName(adapter)}-${commit}`, { ...about, kernels: rows });
console.log(`wrote ${file}`);
gpu.destroy();
