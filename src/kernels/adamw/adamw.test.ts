import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { relativeRms, useGpu, values } from "../../../test/gpu.js";
import { toFloat32 } from "../../formats/dtypes.js";
import {
  type SafetensorsFile,
  openSafetensors,
  readTensor,
} from "../../checkpoint/safetensors/safetensors.js";
import { ShapeError } from "../../gpu/errors.js";
import { openFile } from "../../node/files.js";
import { gradNorm } from "../grad-norm/grad-norm.js";
import { type AdamWOptions, type AdamWState, adamw } from "./adamw.js";
import { adamwRef } from "./adamw.ref.js";

// Ten steps of four runs against torch.optim.AdamW with clip_grad_norm_
// (test/fixtures/adamw.safetensors, golden/fixtures/adamw.py): the reference within f64's rounding,
// the kernel within 1e-6 of torch's f32. Then sizes, values that are not finite, equal bits,
// refusals.
const gpu = useGpu();
const bound = 1e-6;
const path = fileURLToPath(new URL("../../../test/fixtures/adamw.safetensors", import.meta.url));
const shapes = { a: [13, 31], b: [131] } as const;
const names = Object.keys(shapes) as (keyof typeof shapes)[];

interface Run {
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weight_decay: number;
  readonly max_norm: number;
}

async function withFixture<T>(use: (file: SafetensorsFile) => Promise<T>): Promise<T> {
  const source = await openFile(path);
  try {
    return await use(await openSafetensors(source));
  } finally {
    await source.close();
  }
}

async function floats(file: SafetensorsFile, name: string): Promise<Float32Array | Float64Array> {
  const bytes = (await readTensor(file, name)).slice();
  return name.startsWith("f64.") ? new Float64Array(bytes.buffer) : toFloat32(bytes, "F32");
}

function optionsOf(run: Run, rates: readonly number[], i: number): AdamWOptions {
  const [beta1, beta2] = run.betas;
  return { learningRate: rates[i], step: i + 1, beta1, beta2, eps: run.eps, decay: run.weight_decay };
}

function keep(data: Float32Array, shape: readonly number[]): AdamWState {
  const zero = gpu().keep(shape, "f32");
  gpu().write(zero, data as Float32Array<ArrayBuffer>);
  const fresh = (): typeof zero => gpu().keep(shape, "f32");
  return { value: zero, gradient: fresh(), m: fresh(), v: fresh() };
}

function free(state: AdamWState): void {
  for (const tensor of [state.value, state.gradient, state.m, state.v]) gpu().free(tensor);
}

test.each(["plain", "clipped", "decayed", "undecayed"])("ten steps of torch: %s", async (name) => {
  await withFixture(async (file) => {
    const run = (JSON.parse(file.metadata.get("runs")!) as Record<string, Run>)[name];
    const rates = JSON.parse(file.metadata.get("rates")!) as number[];
    const states = new Map<string, AdamWState>();
    const refs = new Map<string, { x: Float64Array; m: Float64Array; v: Float64Array }>();
    for (const n of names) {
      const start = (await floats(file, `start.${n}`)) as Float32Array;
      states.set(n, keep(start, shapes[n]));
      refs.set(n, {
        x: Float64Array.from(start),
        m: new Float64Array(start.length),
        v: new Float64Array(start.length),
      });
    }
    const norms: number[] = [];
    for (const [i] of rates.entries()) {
      const options = optionsOf(run, rates, i);
      const gradients = await Promise.all(names.map((n) => floats(file, `gradient.${n}.${i}`)));
      for (const [k, n] of names.entries())
        gpu().write(states.get(n)!.gradient, gradients[k] as Float32Array<ArrayBuffer>);
      const [clip] = await gpu().step(() => {
        const all = names.map((n) => states.get(n)!.gradient);
        const result = gradNorm(gpu(), all, run.max_norm);
        for (const n of names) adamw(gpu(), states.get(n)!, result.clip, options);
        return [result.clip];
      });
      norms.push(clip[0]);
      const norm = Math.hypot(...gradients.flatMap((g) => [...g]));
      const factor = run.max_norm > 0 ? Math.min(1, run.max_norm / (norm + 1e-6)) : 1;
      for (const [k, n] of names.entries()) {
        const { x, m, v } = refs.get(n)!;
        adamwRef(
          x,
          m,
          v,
          Float64Array.from(gradients[k], (g) => g * factor),
          options,
        );
      }
    }
    expect(relativeRms(norms, await floats(file, `${name}.norms`))).toBeLessThan(bound);
    for (const n of names) {
      const { value, m, v, gradient } = states.get(n)!;
      const [gotX, gotM, gotV, left] = await gpu().step(() => [value, m, v, gradient]);
      for (const [key, got] of Object.entries({ x: gotX, m: gotM, v: gotV })) {
        expect(relativeRms(got, await floats(file, `${name}.${n}.${key}`))).toBeLessThan(bound);
        const ref = refs.get(n)![key as "x" | "m" | "v"];
        expect(relativeRms(ref, await floats(file, `f64.${name}.${n}.${key}`))).toBeLessThan(1e-14);
      }
      expect(left.every((g) => g === 0)).toBe(true);
      free(states.get(n)!);
    }
  });
});

const usual: AdamWOptions = { learningRate: 1e-3, step: 3, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.01 };

/** One update of [count] seeded elements with the clipping factor of `gradNorm` at 1. */
async function update(count: number, change?: (gradient: Float32Array) => void): Promise<Float32Array[]> {
  const state = keep(values(count, 1), [count]);
  const gradient = values(count, 2);
  change?.(gradient);
  gpu().write(state.gradient, gradient as Float32Array<ArrayBuffer>);
  gpu().write(state.m, values(count, 3) as Float32Array<ArrayBuffer>);
  gpu().write(state.v, values(count, 4, 2) as Float32Array<ArrayBuffer>);
  const results = await gpu().step(() => {
    adamw(gpu(), state, gradNorm(gpu(), [state.gradient], 1).clip, usual);
    return [state.value, state.m, state.v, state.gradient];
  });
  free(state);
  return results as Float32Array[];
}

test.each([[1], [63], [64], [65], [997], [65_535 * 64 + 1]])("%i elements", async (count) => {
  const [x, m, v] = [values(count, 1), values(count, 3), values(count, 4, 2)].map((a) =>
    Float64Array.from(a),
  );
  const gradient = values(count, 2);
  const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
  adamwRef(
    x,
    m,
    v,
    Float64Array.from(gradient, (g) => g * Math.min(1, 1 / (norm + 1e-6))),
    usual,
  );
  const got = await update(count);
  for (const [i, want] of [x, m, v].entries()) expect(relativeRms(got[i], want)).toBeLessThan(bound);
});

test("a gradient that is not finite changes nothing", async () => {
  const got = await update(500, (gradient) => (gradient[499] = Infinity));
  expect(got.slice(0, 3)).toEqual([values(500, 1), values(500, 3), values(500, 4, 2)]);
  expect(got[3][499]).toBe(Infinity);
});

test("two runs have equal bits", async () => {
  expect(await update(10_007)).toEqual(await update(10_007));
});

test("refusals", async () => {
  const step = (op: () => unknown): Promise<unknown> => gpu().step(() => (op(), []));
  const state = keep(values(6, 1), [2, 3]);
  const of = (change: Partial<AdamWState>, options = usual): Promise<unknown> =>
    step(() => adamw(gpu(), { ...state, ...change }, gpu().empty([2]), options));
  const other = gpu().keep([6], "f32");
  await expect(of({ m: other })).rejects.toThrow(new ShapeError("adamw: m must be [2, 3], got [6]"));
  await expect(of({}, { ...usual, step: 0 })).rejects.toThrow(
    new ShapeError("adamw: step must be a whole number from 1, got 0"),
  );
  gpu().free(other);
  free(state);
});
