import type { Sizes } from "../gpu/kernel.js";
import { argmaxClasses } from "./argmax/tuning.js";
import { attentionClasses } from "./attention/tuning.js";
import { crossEntropyClasses } from "./cross-entropy/tuning.js";
import { linearClasses } from "./linear/tuning.js";
import type { ShapeClass } from "./tuning.js";

/** Everything that a tuning may set, by the class's name. */
export const shapeClasses: ReadonlyMap<string, ShapeClass> = new Map([
  ...linearClasses(),
  ...attentionClasses,
  ...argmaxClasses,
  ...crossEntropyClasses,
]);

/** Kernels that read their sizes from a tuning. */
export const tunedKernels: readonly string[] = [
  ...new Set([...shapeClasses.values()].flatMap(({ kernels }) => kernels)),
];

/** Whether two sets of sizes are the same. */
export function sameSizes(a: Sizes, b: Sizes): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
