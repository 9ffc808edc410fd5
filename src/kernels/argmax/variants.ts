import type { Gpu } from "../../gpu/device.js";
import { tuned } from "../../gpu/kernel.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

/** A row in one workgroup. */
export const wholeKernel = defineKernel("argmax/argmax", perElement(1));
/** A row in parts, and the best of the parts. */
export const partKernel = defineKernel("argmax/argmax-part", perElement(1));
export const joinKernel = defineKernel("argmax/argmax-join", ({ rows, parts }) => ({ flops: rows * parts }));

export const argmaxClass = "argmax";

/**
 * Elements of a row that a workgroup takes: the whole row, unless the device's sizes name a smaller
 * `part`.
 */
export function partWidth(gpu: Gpu, width: number): number {
  const { part } = tuned(gpu.tuning, argmaxClass, { part: 0 });
  return part > 0 && part < width ? part : width;
}
