import type { Gpu } from "../gpu/device.js";
import { type WeightFormat, freeMatrix, keepMatrix, rowBytes, rowScaleBytes } from "../gpu/matrix.js";
import { linear } from "../kernels/linear/linear.js";
import type { Ceilings } from "./ceiling.js";
import type { Shares } from "./predict.js";

const rounds = 7;

/** Seconds of a product of so many rows with a [columns, width] matrix, several in a step: the best of some. */
async function productSeconds(
  gpu: Gpu,
  [rows, width, columns]: readonly number[],
  format: WeightFormat,
  calls: number,
): Promise<number> {
  const w = keepMatrix(gpu, columns, width, format);
  const x = gpu.keep([rows, width], "f32");
  gpu.write(x, new Float32Array(rows * width).fill(0.5));
  const run = async (): Promise<number> => {
    const start = performance.now();
    await gpu.step(() => {
      for (let i = 0; i < calls; i++) gpu.scope(() => void linear(gpu, x, w));
      return [];
    });
    await gpu.finish();
    return (performance.now() - start) / 1000 / calls;
  };
  try {
    await gpu.step(() => (w.pieces.forEach(({ tensor }) => gpu.clear(tensor)), [])); // touches its pages
    await run();
    const times: number[] = [];
    for (let i = 0; i < rounds; i++) times.push(await run());
    return Math.min(...times);
  } finally {
    freeMatrix(gpu, w);
    gpu.free(x);
  }
}

/** What the kernels reach on this device of its ceilings: a row against a matrix by memory, 64 rows by arithmetic. */
export async function measureShares(gpu: Gpu, format: WeightFormat, ceilings: Ceilings): Promise<Shares> {
  const [k, n] = [1024, 16_384];
  const bytes = n * (rowBytes(k, format) + rowScaleBytes(k, format));
  const row = await productSeconds(gpu, [1, k, n], format, 4);
  const [m, columns] = [64, 3072];
  const tile = await productSeconds(gpu, [m, k, columns], format, 2);
  return {
    bandwidth: bytes / row / ceilings.bandwidth.max,
    flops: (2 * m * k * columns) / tile / ceilings.flops.max,
  };
}
