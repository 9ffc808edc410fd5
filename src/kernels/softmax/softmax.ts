import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, expectDType, expectMatrix } from "../../gpu/tensor.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("softmax/softmax", ({ rows, width, kept }) => ({
  flops: rows * (3 * width + kept),
}));
const threads = 64;

/**
 * The softmax of each row, of which the first columns are kept. No gradient passes it.
 * @param x     [rows, width] f32
 * @param kept  columns from 1 to width. Default: width
 * @returns     [rows, kept] f32; a row that holds a NaN gives NaN
 * @throws ShapeError  `kept` out of range, or a gradient is to pass it
 * @source torch.nn.functional.softmax
 */
export function softmax(gpu: Gpu, x: Tensor, kept = x.shape[1]): Tensor {
  const [rows, width] = expectMatrix("softmax", { x });
  expectDType("softmax", { x }, "f32");
  if (!(Number.isInteger(kept) && kept >= 1 && kept <= width))
    throw new ShapeError(`softmax: kept must be from 1 to ${width}, got ${kept}`);
  gpu.tape?.refuse("softmax", [x]);
  const y = gpu.empty([rows, kept]);
  gpu.run(kernel, {
    params: { rows, width, kept },
    tensors: { x, y },
    groups: Math.ceil(rows / threads),
    overrides: { WG: threads },
  });
  return y;
}
