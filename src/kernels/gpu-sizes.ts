import { isSoftware } from "../gpu/adapter.js";
import type { Sizes, Tuning } from "../gpu/kernel.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { argmaxClass } from "./argmax/variants.js";
import { attentionRowClass } from "./attention/variants.js";
import { crossEntropyClass } from "./cross-entropy/variants.js";
import { blocksClass, linearClass, normedClass } from "./linear/variants.js";

/** One row and a few, by blocks: columns of a workgroup. */
function rowSizes(format: WeightFormat): [string, Sizes][] {
  const few = [2, 8, 16].map((rows): [string, Sizes] => [blocksClass(format, rows), { N: 4 }]);
  return [[linearClass(format, 1), { N: 4 }], [normedClass(format), { N: 4, workgroups: 2048 }], ...few];
}

/**
 * Sizes of kernels for an adapter that nobody has tuned: none for programs on the CPU, whose usual
 * sizes were measured; those of the families with many workgroups for GPUs. Predicted, not measured.
 */
export function gpuSizes(adapter: GPUAdapterInfo): Tuning {
  if (isSoftware(adapter)) return {};
  const formats = Object.keys(weightBlocks) as WeightFormat[];
  return {
    [argmaxClass]: { part: 1024 },
    [crossEntropyClass]: { part: 1024 },
    [attentionRowClass]: { groups: 1024, keys: 128 },
    ...Object.fromEntries(formats.flatMap(rowSizes)),
  };
}
