import type { Gpu } from "../gpu/device.js";
import type { Sizes, Tuning } from "../gpu/kernel.js";
import { shapeClasses } from "../kernels/shape-classes.js";
import { type ShapeClass, allCandidates } from "../kernels/tuning.js";

/** One set of sizes and the seconds that it took. */
export interface Timed {
  readonly sizes: Sizes;
  /** Of a call, the best of some. */
  readonly seconds: number;
}

/** What a class came out at. */
export interface Choice {
  readonly shapeClass: string;
  /** The call that was timed. */
  readonly shape: string;
  /** Seconds with the usual sizes. */
  readonly usual: number;
  /** The candidates, the fastest first. */
  readonly timed: readonly Timed[];
  /**
   * Sizes that are faster than the usual ones by more than noise; undefined: the usual ones stay.
   */
  readonly chosen: Sizes | undefined;
}

const rounds = 12;
const gain = 0.95; // of the usual time that a choice must stay below

/**
 * The fastest sizes. The usual ones and all candidates take turns, so that a busy machine meets all
 * of them, and the best of each counts.
 * @param time  seconds of a call with these sizes, undefined for the usual ones; its first call of
 *              each is not counted
 */
export async function fastest(
  candidates: readonly Sizes[],
  time: (sizes: Sizes | undefined) => Promise<number>,
): Promise<Pick<Choice, "usual" | "timed" | "chosen">> {
  const all = [undefined, ...candidates];
  const best = all.map(() => Infinity);
  for (const sizes of all) await time(sizes); // compiles
  for (let round = 0; round < rounds; round++) {
    const order = [...all.entries()];
    if (round % 2 === 1) order.reverse(); // so that none always follows the same one
    for (const [i, sizes] of order) best[i] = Math.min(best[i], await time(sizes));
  }
  const timed = candidates.map((sizes, i) => ({ sizes, seconds: best[i + 1] }));
  timed.sort((a, b) => a.seconds - b.seconds);
  const chosen = timed[0].seconds < gain * best[0] ? timed[0].sizes : undefined;
  return { usual: best[0], timed, chosen };
}

/**
 * Times the candidates of every shape class on this device: a minute or two on a software adapter
 * whose driver compiles them first. The usual sizes are those that the device has; its own tuning is
 * left as it was.
 * @param software  true for an adapter that is a program on the CPU: it does not try the families
 *                  for GPUs. Default: true
 * @param onClass   called with each class's name as it begins
 */
export async function tune(
  gpu: Gpu,
  options: {
    readonly classes?: ReadonlyMap<string, ShapeClass>;
    readonly software?: boolean;
    readonly onClass?: (name: string) => void;
  } = {},
): Promise<Choice[]> {
  const { classes = shapeClasses, software = true, onClass } = options;
  const before = gpu.tuning;
  const choices: Choice[] = [];
  try {
    for (const [name, shapeClass] of classes) {
      const candidates = software ? shapeClass.candidates : allCandidates(shapeClass);
      if (candidates.length === 0) continue;
      onClass?.(name);
      const call = await shapeClass.call(gpu);
      try {
        const time = async (sizes: Sizes | undefined): Promise<number> => {
          gpu.tuning = sizes ? { ...before, [name]: sizes } : before;
          const start = performance.now();
          await gpu.step(() => {
            for (let i = 0; i < callsOf(shapeClass); i++) gpu.scope(call.run);
            return [];
          });
          await gpu.finish();
          return (performance.now() - start) / 1000 / callsOf(shapeClass);
        };
        const result = await fastest(candidates, time);
        choices.push({ shapeClass: name, shape: call.shape, ...result });
      } finally {
        call.free();
      }
    }
  } finally {
    gpu.tuning = before;
  }
  return choices;
}

/** Calls in a step, so that what a step costs does not hide what a call does. */
function callsOf({ rows }: ShapeClass): number {
  return rows > 8 ? 1 : 4;
}

/** What is kept of the choices. */
export function tuningOf(choices: readonly Choice[]): Tuning {
  return Object.fromEntries(
    choices.flatMap(({ shapeClass, chosen }) => (chosen ? [[shapeClass, chosen]] : [])),
  );
}
