import type { Gpu } from "./device.js";
import type { Tensor } from "./tensor.js";

/** `count` elements of 4 bytes, from one kept tensor to another; positions in elements. */
export interface WordCopy {
  readonly from: Tensor;
  readonly start: number;
  readonly to: Tensor;
  readonly at: number;
  readonly count: number;
}

/** Copies between kept tensors, in their order and in the order of submits, as `Gpu.write`. */
export function copyWords(gpu: Gpu, copies: readonly WordCopy[]): void {
  if (copies.length === 0) return;
  const { device } = gpu;
  const encoder = device.createCommandEncoder();
  for (const { from, start, to, at, count } of copies)
    encoder.copyBufferToBuffer(from.allocation.buffer, 4 * start, to.allocation.buffer, 4 * at, 4 * count);
  device.queue.submit([encoder.finish()]);
}
