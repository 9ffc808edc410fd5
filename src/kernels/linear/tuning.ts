import type { Gpu } from "../../gpu/device.js";
import type { Sizes } from "../../gpu/kernel.js";
import { type WeightFormat, freeMatrix, keepMatrix, weightBlocks } from "../../gpu/matrix.js";
import { type ShapeClass, type TimedCall, keepFilled } from "../tuning.js";
import { linear } from "./linear.js";
import { blocksClass, linearClass, normedClass } from "./variants.js";

const [width, oneRowColumns, columns] = [1024, 16_384, 3072];

/** y = x · wᵀ, with RMSNorm of x where `normed`. */
async function productCall(
  gpu: Gpu,
  format: WeightFormat,
  rows: number,
  normed: boolean,
): Promise<TimedCall> {
  const n = rows === 1 ? oneRowColumns : columns;
  const x = keepFilled(gpu, [rows, width]);
  const gamma = keepFilled(gpu, [width]);
  const w = keepMatrix(gpu, n, width, format);
  await gpu.step(() => (w.pieces.forEach(({ tensor }) => gpu.clear(tensor)), [])); // touches its pages
  const norm = normed ? { gamma, eps: 1e-6 } : undefined;
  const free = (): void => {
    freeMatrix(gpu, w);
    gpu.free(x);
    gpu.free(gamma);
  };
  return { shape: `${rows}×${width}×${n}`, run: () => void linear(gpu, x, w, { norm }), free };
}

const launched = (counts: readonly number[]): Sizes[] => counts.map((workgroups) => ({ workgroups }));
const tiles = (TM: number, columns: readonly number[]): Sizes[] => columns.map((TN) => ({ TM, TN }));
const blocks = (counts: readonly number[], rest: Sizes = {}): Sizes[] => counts.map((N) => ({ N, ...rest }));
const unbounded = 65_536; // workgroups: each makes one tile

/** What a tuning may set. */
export function linearClasses(): [string, ShapeClass][] {
  const of = (
    kind: "linear" | "normed",
    format: WeightFormat,
    rows: number,
    [candidates, onGpus = []]: readonly [Sizes[], Sizes[]?],
  ): ShapeClass => ({
    kind,
    kernels: [
      rows > 1 ? "linear/linear-subgroup" : "linear/linear-row-subgroup",
      ...(onGpus.length > 0 ? ["linear/linear-blocks"] : []),
    ],
    format,
    rows,
    candidates,
    onGpus,
    call: (gpu) => productCall(gpu, format, rows, kind === "normed"),
  });
  return (Object.keys(weightBlocks) as WeightFormat[]).flatMap((format): [string, ShapeClass][] => [
    [linearClass(format, 1), of("linear", format, 1, [launched([16, 64, 256, unbounded]), blocks([2, 4])])],
    [
      normedClass(format),
      of("normed", format, 1, [launched([8, 16, 32, 64]), blocks([2, 4], { workgroups: 2048 })]),
    ],
    [linearClass(format, 4), of("linear", format, 4, [tiles(4, [1, 2, 3, 4]), blocks([2, 4])])],
    [
      linearClass(format, 8),
      of("linear", format, 8, [[...tiles(8, [1, 2, 3, 4]), { TM: 4, TN: 2 }], blocks([2, 4])]),
    ],
    [blocksClass(format, 16), of("linear", format, 16, [[], blocks([2, 4, 0])])],
    [linearClass(format, 64), of("linear", format, 64, [[...tiles(8, [2, 3, 4]), ...tiles(16, [1, 2, 3])]])],
  ]);
}
