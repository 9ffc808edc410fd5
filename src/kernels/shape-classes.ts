import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import type { Sizes } from "../gpu/kernel.js";

/** Kernels that read their sizes from a tuning. None of the sizes below changes the order of a sum: all give the same bits. */
export const tunedKernels = [
  "linear/linear-subgroup",
  "linear/linear-row-subgroup",
  "attention/attention-subgroup",
] as const;

/** Calls that share a kernel's sizes. */
export interface ShapeClass {
  readonly kind: "linear" | "normed" | "attention";
  /** Of the weights of a product; attention has none. */
  readonly format?: WeightFormat;
  /** Rows of the call that the class is timed by. */
  readonly rows: number;
  /** What may be chosen. */
  readonly candidates: readonly Sizes[];
}

const tiles = (TM: number, columns: readonly number[]): Sizes[] => columns.map((TN) => ({ TM, TN }));
const launched = (counts: readonly number[]): Sizes[] => counts.map((workgroups) => ({ workgroups }));
const unbounded = 65_536; // workgroups: each makes one tile

/** Name of the class of a product's rows. */
export function linearClass(format: WeightFormat, rows: number): string {
  return `linear ${format} ${rows > 8 ? "9+" : rows > 4 ? "5-8" : rows > 1 ? "2-4" : "1"}`;
}

/** Name of the class of one row's RMSNorm and product. */
export function normedClass(format: WeightFormat): string {
  return `linear ${format} 1 normed`;
}

/** Name of the class of attention in tiles. */
export const attentionClass = "attention tiles";

function classes(): [string, ShapeClass][] {
  const all: [string, ShapeClass][] = [];
  for (const format of Object.keys(weightBlocks) as WeightFormat[]) {
    const linear = (rows: number, candidates: Sizes[]): void =>
      void all.push([linearClass(format, rows), { kind: "linear", format, rows, candidates }]);
    linear(1, launched([16, 64, 256, unbounded]));
    all.push([
      normedClass(format),
      { kind: "normed", format, rows: 1, candidates: launched([8, 16, 32, 64]) },
    ]);
    linear(4, tiles(4, [1, 2, 3, 4]));
    linear(8, [...tiles(8, [1, 2, 3, 4]), { TM: 4, TN: 2 }]);
    linear(64, [...tiles(8, [2, 3, 4]), ...tiles(16, [1, 2, 3])]);
  }
  const keys = [{ TN: 1 }, { TN: 2 }, { TN: 4 }];
  all.push([attentionClass, { kind: "attention", rows: 128, candidates: keys }]);
  return all;
}

/** Everything that a tuning may set, by the class's name. */
export const shapeClasses: ReadonlyMap<string, ShapeClass> = new Map(classes());

/** Whether two sets of sizes are the same. */
export function sameSizes(a: Sizes, b: Sizes): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
