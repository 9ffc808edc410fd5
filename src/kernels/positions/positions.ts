import type { Gpu } from "../../gpu/device.js";
import type { Segments } from "../attention/segments.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("positions/positions", perElement(2));
const threads = 64;

/**
 * Sinusoidal positions 1, 2, ... in halves [sin | cos], computed in double precision and rounded
 * once.
 * @param rows   positions wanted
 * @param width  even; timescales run from 1 to 10,000 in width / 2 geometric steps
 * @returns      [rows, width] f32
 * @source FunASR SinusoidalPositionEncoder
 */
export function sinusoids(rows: number, width: number): Float32Array {
  const half = width / 2;
  const table = new Float32Array(rows * width);
  const step = Math.log(10_000) / (half - 1);
  for (let i = 0; i < half; i++) {
    const frequency = Math.exp(-step * i);
    for (let row = 0; row < rows; row++) {
      table[row * width + i] = Math.sin((row + 1) * frequency);
      table[row * width + half + i] = Math.cos((row + 1) * frequency);
    }
  }
  return table;
}

/**
 * y = x · scale + the position table, counted from each clip's first row.
 * @param x      [rows, width] f32
 * @param table  [at least the longest clip, width] f32, as `sinusoids` makes it
 * @returns      [rows, width] f32
 */
export function positions(gpu: Gpu, x: Tensor, table: Tensor, scale: number, segments: Segments): Tensor {
  const [rows, width] = expectMatrix("positions", { x });
  expectShape("positions", { table }, [Math.max(table.shape[0], segments.longest), width]);
  expectShape("positions", { ranges: segments.ranges }, [rows, 2]);
  expectDType("positions", { x, table }, "f32");
  gpu.tape?.refuse("positions", [x]);
  const y = gpu.empty(x.shape);
  gpu.run(kernel, {
    params: { rows, width, scale },
    tensors: { x, table, ranges: segments.ranges, y },
    groups: Math.ceil((rows * width) / threads),
    overrides: { WG: threads },
  });
  return y;
}
