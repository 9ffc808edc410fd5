import { isSoftware } from "../gpu/adapter.js";
import type { Sizes, Tuning } from "../gpu/kernel.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { argmaxClass } from "./argmax/variants.js";
import { attentionRowClass } from "./attention/variants.js";
import { crossEntropyClass } from "./cross-entropy/variants.js";
import { blocksClass, linearClass, normedClass } from "./linear/variants.js";

/**
 * Columns of a workgroup for 2 to 4, 5 to 8 and 9 to 16 rows, by blocks: the most with which its
 * memory has room for 32 threads at K = 1024. q4 with 9 to 16 rows has none.
 */
const fewRows: Readonly<Record<WeightFormat, readonly number[]>> = {
  f32: [4, 4, 4],
  bf16: [4, 4, 4],
  f16: [4, 4, 4],
  q8: [4, 4, 2],
  q4: [4, 2],
};

/** One row and a few, by blocks. */
function rowSizes(format: WeightFormat): [string, Sizes][] {
  const few = fewRows[format].map((N, i): [string, Sizes] => [blocksClass(format, [4, 8, 16][i]), { N }]);
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
    [crossEntropyClass]: { shared: 1 },
    [attentionRowClass]: { groups: 1024, keys: 128 },
    ...Object.fromEntries(formats.flatMap(rowSizes)),
  };
}
