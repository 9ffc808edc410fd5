import type { Gpu } from "../../gpu/device.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { joinKernel, partKernel, partWidth, wholeKernel } from "./variants.js";

/** What `argmax` gives for a row that holds a NaN. */
export const notANumber = 0xffffffff;

/**
 * Index of each row's largest element, the lowest where several are equal; `notANumber` where a row
 * holds a NaN.
 * @param x  [rows, width] f32
 * @param y  [rows] u32 to write into; default: a new tensor
 * @returns  [rows] u32
 * @source torch.argmax
 */
export function argmax(gpu: Gpu, x: Tensor, y = gpu.empty([x.shape[0]], "u32")): Tensor {
  const [rows, width] = expectMatrix("argmax", { x });
  expectDType("argmax", { x }, "f32");
  expectShape("argmax", { y }, [rows]);
  expectDType("argmax", { y }, "u32");
  const part = partWidth(gpu, width);
  if (part === width) {
    gpu.run(wholeKernel, { params: { rows, width }, tensors: { x, y }, groups: rows });
    return y;
  }
  const parts = Math.ceil(width / part);
  const best = gpu.empty([rows, parts, 2], "u32");
  gpu.run(partKernel, { params: { rows, width, part, parts }, tensors: { x, best }, groups: rows * parts });
  gpu.run(joinKernel, { params: { rows, parts }, tensors: { best, y }, groups: rows });
  return y;
}
