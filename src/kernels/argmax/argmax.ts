import type { Gpu } from "../../gpu/device.js";
import { loadKernel } from "../../gpu/kernel.js";
import { type Tensor, expectDType, expectMatrix } from "../../gpu/tensor.js";

const kernel = loadKernel("argmax/argmax");

/** What `argmax` gives for a row that holds a NaN. */
export const notANumber = 0xffffffff;

/**
 * Index of each row's largest element, the lowest where several are equal; `notANumber` where a row holds a NaN.
 * @param x  [rows, width] f32
 * @returns  [rows] u32
 * @source torch.argmax
 */
export function argmax(gpu: Gpu, x: Tensor): Tensor {
  const [rows, width] = expectMatrix("argmax", { x });
  expectDType("argmax", { x }, "f32");
  const y = gpu.empty([rows], "u32");
  gpu.run(kernel, { params: { rows, width }, tensors: { x, y }, groups: rows });
  return y;
}
