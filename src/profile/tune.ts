import type { Gpu } from "../gpu/device.js";
import { freeMatrix, keepMatrix } from "../gpu/matrix.js";
import { makeSegments } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import type { Sizes, Tuning } from "../gpu/kernel.js";
import { attention } from "../kernels/attention/attention.js";
import { linear } from "../kernels/linear/linear.js";
import { shapeClasses } from "../kernels/shape-classes.js";
import type { ShapeClass } from "../kernels/variants.js";

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

/** A class's call, what it is called, and how to give its memory back. */
interface Call {
  readonly shape: string;
  readonly run: () => void;
  readonly free: () => void;
}

function keepFilled(gpu: Gpu, shape: readonly number[]): Tensor {
  const tensor = gpu.keep(shape, "f32");
  gpu.write(tensor, new Float32Array(tensor.bytes / 4).fill(0.5));
  return tensor;
}

const [width, oneRowColumns, columns] = [1024, 16_384, 3072];

async function productCall(gpu: Gpu, { kind, format, rows }: ShapeClass): Promise<Call> {
  const n = rows === 1 ? oneRowColumns : columns;
  const x = keepFilled(gpu, [rows, width]);
  const gamma = keepFilled(gpu, [width]);
  const w = keepMatrix(gpu, n, width, format!);
  await gpu.step(() => (w.pieces.forEach(({ tensor }) => gpu.clear(tensor)), [])); // touches its pages
  const norm = kind === "normed" ? { gamma, eps: 1e-6 } : undefined;
  const free = (): void => {
    freeMatrix(gpu, w);
    gpu.free(x);
    gpu.free(gamma);
  };
  return { shape: `${rows}×${width}×${n}`, run: () => void linear(gpu, x, w, { norm }), free };
}

const [heads, kvHeads, headDim] = [16, 8, 128];

function attentionCall(gpu: Gpu, { rows }: ShapeClass): Call {
  const q = keepFilled(gpu, [rows, heads * headDim]);
  const kv = keepFilled(gpu, [rows, kvHeads * headDim]);
  const run = (): void => {
    const { ranges, tiles } = makeSegments(gpu, [rows]);
    attention(gpu, q, kv, kv, { heads, kvHeads, ranges, tiles });
  };
  const free = (): void => {
    gpu.free(q);
    gpu.free(kv);
  };
  return { shape: `${rows} rows, ${heads} heads of ${headDim}`, run, free };
}

/**
 * Times the candidates of every shape class on this device: a minute or two on a software adapter
 * whose driver compiles them first. The device's own tuning is left as it was.
 * @param onClass  called with each class's name as it begins
 */
export async function tune(
  gpu: Gpu,
  options: {
    readonly classes?: ReadonlyMap<string, ShapeClass>;
    readonly onClass?: (name: string) => void;
  } = {},
): Promise<Choice[]> {
  const { classes = shapeClasses, onClass } = options;
  const before = gpu.tuning;
  const choices: Choice[] = [];
  try {
    for (const [name, shapeClass] of classes) {
      onClass?.(name);
      const product = shapeClass.kind !== "attention";
      const call = product ? await productCall(gpu, shapeClass) : attentionCall(gpu, shapeClass);
      try {
        const time = async (sizes: Sizes | undefined): Promise<number> => {
          gpu.tuning = sizes ? { [name]: sizes } : {};
          const start = performance.now();
          await gpu.step(() => {
            for (let i = 0; i < callsOf(shapeClass); i++) gpu.scope(call.run);
            return [];
          });
          await gpu.finish();
          return (performance.now() - start) / 1000 / callsOf(shapeClass);
        };
        const result = await fastest(shapeClass.candidates, time);
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
