import type { Gpu } from "../gpu/device.js";
import type { Sizes } from "../gpu/kernel.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { Tensor } from "../gpu/tensor.js";

/** A call that a tuning times. */
export interface TimedCall {
  readonly shape: string;
  readonly run: () => void;
  readonly free: () => void;
}

/**
 * Calls of an op that share a kernel's sizes. None of the sizes changes the order of a sum: all
 * give the same bits.
 */
export interface ShapeClass {
  readonly kind: "linear" | "normed" | "attention" | "attention row" | "argmax" | "cross-entropy";
  /** Those that read the sizes. */
  readonly kernels: readonly string[];
  /** Of the weights of a product; attention has none. */
  readonly format?: WeightFormat;
  /** Rows of the call that the class is timed by. */
  readonly rows: number;
  /** What may be chosen. */
  readonly candidates: readonly Sizes[];
  /** What a tuning tries on GPUs besides: families that a program on the CPU runs far slower. */
  readonly onGpus?: readonly Sizes[];
  /** Makes the call that the class is timed by. */
  readonly call: (gpu: Gpu) => Promise<TimedCall>;
}

/** All that a tuning may hold for a class. */
export function allCandidates({ candidates, onGpus = [] }: ShapeClass): readonly Sizes[] {
  return [...candidates, ...onGpus];
}

/** A tensor that lives until it is freed, of one value. */
export function keepFilled(gpu: Gpu, shape: readonly number[]): Tensor {
  const tensor = gpu.keep(shape, "f32");
  gpu.write(tensor, new Float32Array(tensor.bytes / 4).fill(0.5));
  return tensor;
}
