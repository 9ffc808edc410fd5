import { isSoftware } from "../gpu/adapter.js";
import type { Tuning } from "../gpu/kernel.js";
import { argmaxClass } from "./argmax/variants.js";

/**
 * Sizes of kernels for an adapter that nobody has tuned: none for programs on the CPU, whose usual
 * sizes were measured; those of the families with many workgroups for GPUs. Predicted, not measured.
 */
export function gpuSizes(adapter: GPUAdapterInfo): Tuning {
  if (isSoftware(adapter)) return {};
  return { [argmaxClass]: { part: 1024 } };
}
