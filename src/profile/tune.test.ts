import { describe, expect, test } from "vitest";
import { keepWeights, useGpu, values } from "../../test/gpu.js";
import { keepQuantized } from "../../test/helpers/quantized.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import { type Matrix, freeMatrix } from "../gpu/matrix.js";
import { makeSegments, makeTiles } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import { Timing } from "../gpu/timing.js";
import type { Sizes } from "../gpu/kernel.js";
import { argmax } from "../kernels/argmax/argmax.js";
import { attention } from "../kernels/attention/attention.js";
import { crossEntropy } from "../kernels/cross-entropy/cross-entropy.js";
import { gpuSizes } from "../kernels/gpu-sizes.js";
import { linear } from "../kernels/linear/linear.js";
import { shapeClasses, tunedKernels } from "../kernels/shape-classes.js";
import type { ShapeClass } from "../kernels/tuning.js";
import { fastest, tune, tuningOf } from "./tune.js";

// The choice by a timer whose times are known. That the engine runs what a tuning says, by the
// sources and workgroups of what it dispatches; that every candidate of every class gives the bits
// of the usual sizes; that the device is left as it was.

/** A timer by a table, in order of the calls; sizes that are undefined are the usual ones. */
function clock(seconds: (workgroups: number, call: number) => number): {
  calls: number[];
  time: (sizes: Sizes | undefined) => Promise<number>;
} {
  const calls: number[] = [];
  const time = (sizes: Sizes | undefined): Promise<number> => {
    const which = sizes?.workgroups ?? 0;
    calls.push(which);
    return Promise.resolve(seconds(which, calls.filter((call) => call === which).length - 1));
  };
  return { calls, time };
}

describe("fastest", () => {
  const candidates = [{ workgroups: 1 }, { workgroups: 2 }, { workgroups: 3 }];

  test("the least of each counts, not the first call, in which the driver compiles", async () => {
    const { time } = clock((which, call) =>
      call === 0 ? 0.001 : which === 2 && call === 5 ? 4 : 10 - which,
    );
    const result = await fastest(candidates, time);
    expect(result.usual).toBe(10);
    expect(result.chosen).toEqual({ workgroups: 2 });
    expect(result.timed).toEqual([
      { sizes: { workgroups: 2 }, seconds: 4 },
      { sizes: { workgroups: 3 }, seconds: 7 },
      { sizes: { workgroups: 1 }, seconds: 9 },
    ]);
  });

  test.each([
    [9.6, undefined],
    [9.4, { workgroups: 3 }],
  ])(
    "the usual sizes stay unless another takes less than 95 %% of their time: %d of 10",
    async (time3, want) => {
      const { time } = clock((which) => (which === 3 ? time3 : 10 + which));
      expect((await fastest(candidates, time)).chosen).toEqual(want);
    },
  );

  test("all take turns, as often as each other, and none always follows the same one", async () => {
    const { calls, time } = clock(() => 1);
    await fastest(candidates, time);
    expect(calls.slice(0, 12)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 3, 2, 1, 0]);
    for (const which of [0, 1, 2, 3]) expect(calls.filter((call) => call === which)).toHaveLength(13);
  });
});

const width = 512;
const onGpus = gpuSizes({
  vendor: "nvidia",
  architecture: "",
  device: "",
  description: "",
} as GPUAdapterInfo);
const columns = 200;
const gpu = useGpu({ timestamps: true });

interface Call {
  readonly run: (g: Gpu) => Tensor;
  readonly free: (g: Gpu) => void;
}

function weights(g: Gpu, { format }: ShapeClass): Matrix {
  const data = values(columns * width, 2);
  if (format === "q8" || format === "q4") return keepQuantized(g, data, [columns, width], format).matrix;
  return keepWeights(g, data, [columns, width], format!);
}

function call(g: Gpu, shapeClass: ShapeClass): Call {
  const { kind } = shapeClass;
  if (kind === "argmax") {
    const data = values(3 * 5003, 1);
    return { run: () => argmax(g, g.upload(data, [3, 5003])), free: () => undefined };
  }
  if (kind === "attention") {
    const [heads, rows] = [2, 37];
    const data = [1, 2, 3].map((seed) => values(rows * heads * 40, seed));
    const run = (): Tensor => {
      const { ranges, tiles } = makeSegments(g, [rows]);
      const [q, k, v] = data.map((one) => g.upload(one, [rows, heads * 40]));
      return attention(g, q, k, v, { heads, ranges, tiles });
    };
    return { run, free: () => undefined };
  }
  if (kind === "attention row") {
    const [heads, keys] = [4, 300];
    const [q, kv] = [values(heads * 40, 1), values(keys * 2 * 40, 2)];
    const run = (): Tensor => {
      const options = { ranges: g.upload(Uint32Array.of(0, keys), [1, 2]), tiles: makeTiles(g, [1]) };
      const cache = g.upload(kv, [keys, 2 * 40]);
      return attention(g, g.upload(q, [1, heads * 40]), cache, cache, { heads, kvHeads: 2, ...options });
    };
    return { run, free: () => undefined };
  }
  if (kind === "cross-entropy") {
    const head = keepWeights(g, values(2053 * 8, 1), [2053, 8], "f32");
    const run = (): Tensor => crossEntropy(g, g.upload(values(3 * 8, 2), [3, 8]), head, [0, 2052, 1024]);
    return { run, free: () => freeMatrix(g, head) };
  }
  const w = weights(g, shapeClass);
  const rows = shapeClass.rows > 16 ? 19 : shapeClass.rows;
  const run = (): Tensor => {
    const norm = kind === "normed" ? { gamma: g.upload(values(width, 5), [width]), eps: 1e-6 } : undefined;
    return linear(g, g.upload(values(rows * width, 1), [rows, width]), w, { norm });
  };
  return { run, free: () => freeMatrix(g, w) };
}

/** What a class's call gives under a tuning, and what was dispatched for it. */
async function runWith(
  g: Gpu,
  { run }: Call,
  tuning: Gpu["tuning"],
): Promise<{ bits: TensorData; names: readonly string[]; source: string; groups: number }> {
  g.tuning = tuning;
  const timing = (g.timing = new Timing(g.device));
  try {
    const [bits] = await g.step(() => [run(g)]);
    const { dispatches } = await timing.collect();
    const names = dispatches.map(({ kernel }) => kernel.name);
    const read = dispatches.filter(({ kernel }) => tunedKernels.includes(kernel.name));
    const [{ kernel, dispatch }] = read.length > 0 ? read : dispatches;
    return { bits, names, source: kernel.source, groups: dispatch.groups };
  } finally {
    g.timing = undefined;
    g.tuning = {};
  }
}

/** Sizes in capitals are constants of the kernel; the others say how it is launched. */
function expectConstants(source: string, sizes: Sizes): void {
  for (const [name, value] of Object.entries(sizes))
    if (/^[A-Z]/.test(name)) expect(source).toMatch(new RegExp(`const ${name} = ${value}u;`));
}

describe("a tuning", () => {
  test.each([...shapeClasses])(
    "%s: what it says is run, and candidates and the GPUs' own sizes give the same bits",
    async (name, one) => {
      const g = gpu();
      expect(g.subgroupSize, "these kernels need subgroups of one size").toBeDefined();
      const made = call(g, one);
      const usual = await runWith(g, made, {});
      const groups = new Set<number>();
      for (const sizes of one.candidates) {
        const got = await runWith(g, made, { [name]: sizes });
        expect(got.bits).toEqual(usual.bits);
        expect(got.names).toEqual(usual.names);
        expect(one.kernels.filter((kernel) => got.names.includes(kernel))).toHaveLength(1);
        expectConstants(got.source, sizes);
        groups.add(got.groups);
      }
      if (one.candidates.length > 0 && one.kind !== "attention") expect(groups.size).toBeGreaterThan(1);
      // The families for GPUs compile slowly here: linear-blocks.test.ts tries the other formats.
      const others = one.format === undefined || one.format === "bf16" ? (one.onGpus ?? []) : [];
      const sizes = onGpus[name];
      if (sizes && others.length > 0) {
        const got = await runWith(g, made, { [name]: sizes });
        expect(got.bits).toEqual(usual.bits);
        expect(got.names).not.toEqual(usual.names);
        for (const kernel of got.names.filter((other) => !usual.names.includes(other)))
          expect(one.kernels).toContain(kernel);
        expectConstants(got.source, sizes);
      }
      made.free(g);
    },
  );

  test("of other classes changes nothing", async () => {
    const g = gpu();
    const made = call(g, shapeClasses.get("linear bf16 9+")!);
    const [usual, other] = [
      await runWith(g, made, {}),
      await runWith(g, made, { "linear f16 9+": { TM: 8, TN: 2 } }),
    ];
    expect(other.source).toBe(usual.source);
    made.free(g);
  });
});

test("tune: every class once, by name; memory and the device's tuning are as before", async () => {
  const g = gpu();
  const classes = new Map(
    [...shapeClasses].filter(([name]) => /bf16 (1 normed|2-4)|attention tiles/.test(name)),
  );
  const begun: string[] = [];
  const before = (g.tuning = { "linear q4 1": { workgroups: 16 } });
  const kept = g.bytes.kept;
  const choices = await tune(g, { classes, onClass: (name) => begun.push(name) });
  expect(begun).toEqual([...classes.keys()]);
  expect(choices.map(({ shapeClass, shape }) => [shapeClass, shape])).toEqual([
    ["linear bf16 1 normed", "1×1024×16384"],
    ["linear bf16 2-4", "4×1024×3072"],
    ["attention tiles", "128 rows, 16 heads of 128"],
  ]);
  for (const { shapeClass, timed, usual, chosen } of choices) {
    expect(timed).toHaveLength(classes.get(shapeClass)!.candidates.length);
    expect(usual).toBeGreaterThan(0);
    expect(chosen === undefined).toBe(timed[0].seconds >= 0.95 * usual);
  }
  expect(Object.keys(tuningOf(choices))).toEqual(
    choices.filter(({ chosen }) => chosen).map(({ shapeClass }) => shapeClass),
  );
  expect(g.tuning).toBe(before);
  expect(g.bytes.kept).toBe(kept);
  g.tuning = {};
});

test.each([
  [true, 0],
  [false, 3],
])("tune: the families for GPUs are left out where the adapter is software: %s", async (software, count) => {
  const classes = new Map([["argmax", shapeClasses.get("argmax")!]]);
  const choices = await tune(gpu(), { classes, software });
  expect(choices.flatMap(({ timed }) => timed)).toHaveLength(count);
});
