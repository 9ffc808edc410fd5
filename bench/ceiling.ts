import { loadKernel } from "../src/gpu/kernel.js";
import type { Gpu } from "../src/gpu/device.js";

/** One thing to time; `run` records it inside a step. */
export interface Case {
  readonly name: string;
  /** Multiplications and additions of one call, counted from shapes; 0 where memory decides. */
  readonly flops: number;
  /** Bytes read and written by one call, each array once, counted from shapes. */
  readonly bytes: number;
  /** Weights that one call multiplies, where that is the measure. */
  readonly weights?: number;
  readonly run: () => void;
}

export const mulAddName = "ceiling: mul + add";
export const copyName = "ceiling: copy";

const mulAdd = loadKernel("../../bench/shaders/mul-add");

/**
 * What the device does at most: multiplications and additions from registers, and bytes copied
 * between buffers.
 */
export function ceilingCases(gpu: Gpu): Case[] {
  const [threads, chains, rounds, group] = [8192, 12, 400, 64];
  const factors = gpu.keep([2], "f32");
  gpu.write(factors, Float32Array.of(0.999, 0.5));
  const y = gpu.keep([threads], "f32");
  const multiply = (): void =>
    gpu.run(mulAdd, {
      params: { rounds },
      tensors: { factors, y },
      groups: threads / group,
      overrides: { WG: group },
    });
  const bytes = 1 << 26;
  const [source, target] = [gpu.keep([bytes / 4], "f32"), gpu.keep([bytes / 4], "f32")];
  gpu.write(source, new Float32Array(bytes / 4)); // touched pages
  const copy = (): void => {
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(source.allocation.buffer, 0, target.allocation.buffer, 0, bytes);
    gpu.device.queue.submit([encoder.finish()]);
  };
  return [
    { name: mulAddName, flops: 2 * threads * chains * rounds * 8, bytes: 0, run: multiply },
    { name: copyName, flops: 0, bytes: 2 * bytes, run: copy },
  ];
}
