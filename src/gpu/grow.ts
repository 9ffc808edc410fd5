import type { Gpu } from "./device.js";
import type { Tensor } from "./tensor.js";

/**
 * A larger kept tensor in place of one that is freed: its contents, then zeros. Copies in the order
 * of submits, as `Gpu.write`: the running step may not have used the tensor.
 */
export function grow(gpu: Gpu, tensor: Tensor, shape: readonly number[]): Tensor {
  const larger = gpu.keep(shape, tensor.dtype);
  const { device } = gpu;
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(tensor.allocation.buffer, 0, larger.allocation.buffer, 0, tensor.bytes);
  device.queue.submit([encoder.finish()]);
  gpu.free(tensor);
  return larger;
}
