import { runClips } from "../decode/clip-work.js";
import type { Gpu } from "../gpu/device.js";
import { type Matrix, freeMatrix, keepMatrix, weightBlocks, writeMatrix } from "../gpu/matrix.js";
import { linear } from "../kernels/linear/linear.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import { type Spread, measureCeilings, spread } from "../profile/ceiling.js";
import { BrowserError } from "./errors.js";
import type { BenchRow, BenchSection } from "./messages.js";
import type { RowCall } from "./verify.js";

/** What is measured: a device, and a model that was loaded on it. */
export interface Measured {
  readonly gpu: Gpu;
  readonly model: FunAsrNano | undefined;
}

type Section = (measured: Measured, signal: AbortSignal) => AsyncIterable<BenchRow> | Iterable<BenchRow>;

const sections: Readonly<Record<BenchSection, Section>> = { ceilings, gemm, gemv, decode };

/**
 * Measures sections of a device, one after another.
 * @throws BrowserError  "usage": a model is needed, or an unknown section; the signal's reason
 */
export async function bench(
  measured: Measured,
  asked: readonly BenchSection[],
  { onEvent, signal }: RowCall<BenchRow>,
): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const name of asked) {
    const known = Object.keys(sections);
    if (!known.includes(name))
      throw new BrowserError("usage", `bench: expected sections of ${known.join(", ")}, got ${name}`);
    signal.throwIfAborted();
    for await (const row of sections[name](measured, signal)) {
      rows.push(row);
      onEvent(row);
      signal.throwIfAborted();
    }
  }
  return rows;
}

function scaled({ min, median, max }: Spread, factor: number): Spread {
  return { min: min * factor, median: median * factor, max: max * factor };
}

async function* ceilings({ gpu }: Measured): AsyncGenerator<BenchRow> {
  const { bandwidth, flops, dispatch, readback } = await measureCeilings(gpu);
  yield { section: "ceilings", name: "copy", unit: "GB/s", value: scaled(bandwidth, 1e-9) };
  yield { section: "ceilings", name: "arithmetic", unit: "GFLOP/s", value: scaled(flops, 1e-9) };
  yield { section: "ceilings", name: "dispatch", unit: "µs", value: scaled(dispatch, 1e6) };
  yield { section: "ceilings", name: "readback", unit: "ms", value: scaled(readback, 1e3) };
}

const formats = ["f32", "bf16", "q8"] as const;
const rounds = 7;
const roundSeconds = 0.1; // of one round at least, so that submitting does not count

/** Products of a prompt of 128 tokens, of the widths of a language model of 0.6 billion parameters. */
async function* gemm({ gpu }: Measured, signal: AbortSignal): AsyncGenerator<BenchRow> {
  for (const format of formats) {
    const seconds = await product(gpu, { rows: 128, columns: 1024, outputs: 3072, format }, signal);
    const flops = 2 * 128 * 1024 * 3072;
    const value = spread(seconds.map((time) => flops / time / 1e9));
    yield { section: "gemm", name: `128 × 1024 × 3072 ${format}`, unit: "GFLOP/s", value };
  }
}

/** Products of one token, bound by the reading of weights. */
async function* gemv({ gpu }: Measured, signal: AbortSignal): AsyncGenerator<BenchRow> {
  for (const format of formats) {
    const seconds = await product(gpu, { rows: 1, columns: 1024, outputs: 16_384, format }, signal);
    const bytes = 16_384 * (1024 / weightBlocks[format].columns) * weightBlocks[format].bytes;
    const value = spread(seconds.map((time) => bytes / time / 1e9));
    yield { section: "gemv", name: `1024 × 16384 ${format}`, unit: "GB/s", value };
  }
}

interface Product {
  readonly rows: number;
  readonly columns: number;
  readonly outputs: number;
  readonly format: (typeof formats)[number];
}

/** Seconds of a product with weights of zeros, in each round. */
async function product(
  gpu: Gpu,
  { rows, columns, outputs, format }: Product,
  signal: AbortSignal,
): Promise<number[]> {
  let matrix: Matrix | undefined;
  const x = gpu.keep([rows, columns], "f32");
  try {
    matrix = keepMatrix(gpu, outputs, columns, format);
    const { columns: block, bytes } = weightBlocks[format];
    writeMatrix(gpu, matrix, new Uint8Array(outputs * (columns / block) * bytes)); // touches its pages
    const w = matrix;
    const run = async (count: number): Promise<number> => {
      signal.throwIfAborted();
      const began = performance.now();
      await gpu.step(() => {
        for (let i = 0; i < count; i++) gpu.scope(() => void linear(gpu, x, w));
        return [];
      });
      await gpu.finish();
      return (performance.now() - began) / 1000;
    };
    await run(1); // compiles
    const once = await run(1);
    const count = Math.max(1, Math.min(200, Math.ceil(roundSeconds / once)));
    const seconds: number[] = [];
    for (let round = 0; round < rounds; round++) seconds.push((await run(count)) / count);
    return seconds;
  } finally {
    gpu.free(x);
    if (matrix) freeMatrix(gpu, matrix);
  }
}

/** Tokens a second of the loaded model, behind 3 s of audio. */
async function* decode({ gpu, model }: Measured, signal: AbortSignal): AsyncGenerator<BenchRow> {
  if (!model)
    throw new BrowserError(
      "usage",
      "bench decode: expected a model, got none at the start; start with `model`",
    );
  const [few, many] = [4, 36];
  const run = async (steps: number): Promise<number> => {
    signal.throwIfAborted();
    const began = performance.now();
    await runClips(gpu, model, { frames: [50], text: 32, answer: many + 4, steps });
    await gpu.finish();
    return (performance.now() - began) / 1000;
  };
  await run(few);
  const rates: number[] = [];
  for (let round = 0; round < 3; round++)
    rates.push((many - few) / Math.max(1e-6, (await run(many)) - (await run(few))));
  yield { section: "decode", name: "one clip", unit: "tokens/s", value: spread(rates) };
}
