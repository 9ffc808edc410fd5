import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { add } from "../kernels/add/add.js";
import { mulAdd, mulAddTerms } from "../kernels/mul-add/mul-add.js";

/** Least, middle and most of some measurements. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** What an adapter does at most, measured on it. */
export interface Ceilings {
  /** Bytes read and written a second by a copy between buffers. */
  readonly bandwidth: Spread;
  /** Multiplications and additions a second from registers. */
  readonly flops: Spread;
  /** Seconds of a dispatch that does next to nothing, among 300 that wait for each other. */
  readonly dispatch: Spread;
  /** Seconds from submitting a step to having its four bytes. */
  readonly readback: Spread;
}

const rounds = 12; // of all four measurements in turn
const chain = 300; // dispatches
const copyBytes = 64 << 20;
const threads = 16_384;

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { min: sorted[0], median, max: sorted[sorted.length - 1] };
}

async function seconds(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}

/**
 * Measures a device: about two seconds on a software adapter. The four take turns, so that a busy
 * machine meets all of them.
 */
export async function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  const kept: Tensor[] = [];
  const keep = (length: number): Tensor => {
    const tensor = gpu.keep([length], "f32");
    kept.push(tensor);
    gpu.write(tensor, new Float32Array(length).fill(0.5)); // touches its pages
    return tensor;
  };
  const [one, factors, y] = [keep(1), keep(2), keep(threads)];
  const [source, target] = [keep(copyBytes / 4), keep(copyBytes / 4)];
  const run = (body: () => void): Promise<unknown> => gpu.step(() => (body(), [])).then(() => gpu.finish());
  const multiply = (count: number): Promise<unknown> => run(() => mulAdd(gpu, factors, y, count));
  const copy = (): Promise<unknown> => {
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(source.allocation.buffer, 0, target.allocation.buffer, 0, copyBytes);
    gpu.device.queue.submit([encoder.finish()]);
    return gpu.finish();
  };
  const adds = (count: number): Promise<unknown> =>
    run(() => {
      let x = one;
      for (let i = 0; i < count; i++) x = gpu.scope(() => add(gpu, x, one));
    });
  const read = (): Promise<unknown> => gpu.step(() => [one]);
  try {
    return await measure({ multiply, copy, adds, read });
  } finally {
    for (const tensor of kept) gpu.free(tensor);
  }
}

interface Work {
  readonly multiply: (count: number) => Promise<unknown>;
  readonly copy: () => Promise<unknown>;
  readonly adds: (count: number) => Promise<unknown>;
  readonly read: () => Promise<unknown>;
}

async function measure({ multiply, copy, adds, read }: Work): Promise<Ceilings> {
  const times = { bandwidth: [], flops: [], dispatch: [], readback: [] } as Record<keyof Ceilings, number[]>;
  let count = 64;
  for (const body of [() => multiply(count), copy, () => adds(chain), read]) await body(); // compiles, touches
  while ((await seconds(() => multiply(count))) < 0.03 && count < 1 << 24) count *= 4;
  for (let i = 0; i < rounds; i++) {
    times.flops.push((2 * mulAddTerms * threads * count) / (await seconds(() => multiply(count))));
    times.bandwidth.push((2 * copyBytes) / (await seconds(copy)));
    const few = await seconds(() => adds(10));
    times.dispatch.push(Math.max((await seconds(() => adds(chain))) - few, 0) / (chain - 10));
    times.readback.push(await seconds(read));
  }
  return {
    bandwidth: spread(times.bandwidth),
    flops: spread(times.flops),
    dispatch: spread(times.dispatch),
    readback: spread(times.readback),
  };
}
