import type { Gpu } from "./device.js";
import type { DType, Tensor } from "./tensor.js";

/** Kept tensors, all of them or none. @throws as Gpu.keep */
export function keepAll(gpu: Gpu, wanted: readonly (readonly [readonly number[], DType])[]): Tensor[] {
  const kept: Tensor[] = [];
  try {
    for (const [shape, dtype] of wanted) kept.push(gpu.keep(shape, dtype));
    return kept;
  } catch (error) {
    for (const tensor of kept) gpu.free(tensor);
    throw error;
  }
}
