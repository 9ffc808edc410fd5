import { digits, table } from "../report/text.js";
import { FunasrError } from "../errors.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { Sizes, Tuning } from "../gpu/kernel.js";
import { shapeClasses } from "../kernels/shape-classes.js";
import type { ShapeClass } from "../kernels/tuning.js";
import { adapterNames } from "../node/device.js";
import { type TuningKey, readTuning, tuningFile, tuningKey, writeTuning } from "../node/tuning-cache.js";
import { type Choice, tune, tuningOf } from "../profile/tune.js";
import { withDevice } from "./device.js";
import { note, print, printJson, status } from "./output.js";

export interface TuneOptions {
  /** Format of the weights to tune for; default: all. Choices for other formats stay. */
  readonly weights?: WeightFormat;
  readonly json?: boolean;
}

/** `bench --tune`: sets the tile sizes of all later commands on this adapter. */
export async function tuneAdapter({ weights, json }: TuneOptions): Promise<void> {
  await withDevice(
    async ({ gpu, adapter, software }) => {
      const lanes = gpu.subgroupSize;
      if (lanes === undefined) {
        note("bench: this adapter has no subgroups of one size; the kernels without them have one size each");
        return;
      }
      const wanted = ({ format }: ShapeClass): boolean => !weights || !format || format === weights;
      const classes = new Map([...shapeClasses].filter(([, shapeClass]) => wanted(shapeClass)));
      const choices = await tune(gpu, { classes, software, onClass: (name) => status(`timing ${name}`) });
      const key = tuningKey({ ...adapterNames(adapter), lanes });
      const file = tuningFile(key);
      if (file !== undefined) {
        const others = Object.entries(await before(file, key)).filter(([name]) => !classes.has(name));
        await writeTuning(file, key, { ...Object.fromEntries(others), ...tuningOf(choices) });
      }
      show(choices, json);
      note(file === undefined ? "FUNASR_WEBGPU_TUNING is off: nothing was kept" : `wrote ${file}`);
    },
    { tuning: false },
  );
}

/** The earlier choices; none from a damaged file, which this run replaces. */
async function before(file: string, key: TuningKey): Promise<Tuning> {
  try {
    return (await readTuning(file, key)) ?? {};
  } catch (error) {
    if (error instanceof FunasrError) return {};
    throw error;
  }
}

function sizesText(sizes: Sizes): string {
  return Object.entries(sizes)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

function show(choices: readonly Choice[], json?: boolean): void {
  if (json) {
    for (const choice of choices) printJson({ ...choice, chosen: choice.chosen ?? null });
    return;
  }
  const rows = choices.map(({ shapeClass, shape, usual, timed: [best], chosen }) => [
    ...[shapeClass, shape, digits(1000 * usual), digits(1000 * best.seconds), sizesText(best.sizes)],
    chosen ? `${digits(usual / best.seconds)} ×` : "as usual",
  ]);
  print(table([["class", "timed by", "usual, ms", "best, ms", "with", "taken"], ...rows], [2, 3]));
}
