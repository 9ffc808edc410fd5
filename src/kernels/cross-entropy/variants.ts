import type { Gpu } from "../../gpu/device.js";
import { tuned } from "../../gpu/kernel.js";
import type { Tensor } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

/** A row in one workgroup. */
const wholeKernel = defineKernel("cross-entropy/cross-entropy", ({ rows, width }, { overrides }) => ({
  flops: rows * width * (overrides?.GRADIENT ? 8 : 4),
}));

const partWidth = 1024; // scores of a workgroup of the kernels that share a row
const threads = 64; // of a workgroup, and parts of a row's sum
const largestKernel = defineKernel("cross-entropy/cross-entropy-largest", () => ({ flops: 0 }));
const sumsKernel = defineKernel("cross-entropy/cross-entropy-sums", perElement(4));
const lossKernel = defineKernel("cross-entropy/cross-entropy-loss", ({ rows, parts }, { tensors }) => ({
  flops: 2 * rows * parts * threads,
  bytes: tensors.largest.bytes + tensors.sums.bytes + 20 * rows,
}));
const gradientKernel = defineKernel("cross-entropy/cross-entropy-gradient", perElement(4));

export const crossEntropyClass = "cross-entropy";

/** Scores [rows, width], which the gradient replaces; labels and losses of these rows and others. */
type Tensors = Readonly<Record<"labels" | "x" | "losses", Tensor>>;
/** `first`: the row of labels and losses that belongs to the first of x. */
type Params = Readonly<Record<"first" | "smoothing" | "factor", number>>;

/**
 * Losses of rows of scores, and where `gradient` their gradient in place of the scores. Where the
 * device's sizes say `shared`, many workgroups share a row; the same bits.
 */
export function runCrossEntropy(gpu: Gpu, tensors: Tensors, params: Params, gradient: boolean): void {
  const { labels, x, losses } = tensors;
  const [rows, width] = x.shape;
  const { shared } = tuned(gpu.tuning, crossEntropyClass, { shared: 0 });
  if (shared === 0 || width <= partWidth) {
    const overrides = { GRADIENT: gradient };
    gpu.run(wholeKernel, { params: { rows, width, ...params }, tensors, groups: rows, overrides });
    return;
  }
  const parts = Math.ceil(width / partWidth);
  const groups = rows * parts;
  const sizes = { rows, width, parts };
  const { first, smoothing, factor } = params;
  const largest = gpu.empty([rows, parts]);
  const sums = gpu.empty([rows, parts, threads, 2]);
  const stats = gpu.empty([rows, 2]);
  gpu.run(largestKernel, { params: sizes, tensors: { x, largest }, groups });
  gpu.run(sumsKernel, { params: sizes, tensors: { x, largest, sums }, groups });
  gpu.run(lossKernel, {
    params: { ...sizes, first, smoothing },
    tensors: { labels, x, largest, sums, stats, losses },
    groups: rows,
  });
  if (!gradient) return;
  gpu.run(gradientKernel, {
    params: { ...sizes, first, smoothing, factor },
    tensors: { labels, stats, x },
    groups,
  });
}
