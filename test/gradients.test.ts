import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { toFloat32 } from "../src/checkpoint/dtypes.js";
import { openSafetensors, readTensor } from "../src/checkpoint/safetensors.js";
import type { Gpu } from "../src/gpu/device.js";
import { makeSegments } from "../src/gpu/segments.js";
import type { Tensor } from "../src/gpu/tensor.js";
import { attentionBackward } from "../src/kernels/attention/attention-backward.js";
import { attention } from "../src/kernels/attention/attention.js";
import { attentionBackwardRef } from "../src/kernels/attention/attention.ref.js";
import { columnSum } from "../src/kernels/column-sum/column-sum.js";
import { columnSumRef } from "../src/kernels/column-sum/column-sum.ref.js";
import { copyRowsBackward, takeRowsBackward } from "../src/kernels/copy-rows/copy-rows-backward.js";
import { copyRowsBackwardRef } from "../src/kernels/copy-rows/copy-rows.ref.js";
import { fsmnBackward } from "../src/kernels/fsmn/fsmn-backward.js";
import { fsmnBackwardRef } from "../src/kernels/fsmn/fsmn.ref.js";
import { layerNormBackward } from "../src/kernels/layer-norm/layer-norm-backward.js";
import { layerNormBackwardRef } from "../src/kernels/layer-norm/layer-norm.ref.js";
import { reluBackward } from "../src/kernels/relu-backward/relu-backward.js";
import { reluBackwardRef } from "../src/kernels/relu-backward/relu-backward.ref.js";
import { rmsNormBackward } from "../src/kernels/rms-norm/rms-norm-backward.js";
import { rmsNormBackwardRef } from "../src/kernels/rms-norm/rms-norm.ref.js";
import { ropeAngles, ropeBackward } from "../src/kernels/rope/rope.js";
import { ropeBackwardRef } from "../src/kernels/rope/rope.ref.js";
import { swigluBackward } from "../src/kernels/swiglu/swiglu-backward.js";
import { swigluBackwardRef } from "../src/kernels/swiglu/swiglu.ref.js";
import { openFile } from "../src/node/files.js";
import { relativeRms, useGpu } from "./gpu.js";

// Every op's gradients against PyTorch's autograd (test/fixtures/gradients.safetensors, golden/fixtures/gradients.py): the f64
// reference has those of its f64 run, and the GPU's error against them is at most 3 times that of PyTorch's own f32 run.
const gpu = useGpu();
const allowed = 3;
const referenceBound = 1e-13; // of the rounding of f64

interface Options {
  readonly op: string;
  readonly eps: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly lengths: readonly number[];
  readonly causal: boolean;
  readonly head_dim: number;
  readonly theta: number;
  readonly positions: readonly number[];
  readonly indices: readonly number[];
  readonly pairs: readonly (readonly [number, number])[];
}

interface Array2 {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array;
}

type Arrays = Readonly<Record<string, Array2>>;
type Gradients = Readonly<Record<string, ArrayLike<number>>>;

interface Golden {
  readonly options: Options;
  /** Inputs of the op, and dy. */
  readonly inputs: Arrays;
  readonly f32: Gradients;
  readonly f64: Gradients;
}

const file = await (async () => {
  const source = await openFile(fileURLToPath(new URL("fixtures/gradients.safetensors", import.meta.url)));
  const opened = await openSafetensors(source);
  const arrays: Record<string, Array2> = {};
  for (const [name, { shape, dtype }] of opened.tensors) {
    const bytes = (await readTensor(opened, name)).slice();
    arrays[name] = {
      shape,
      data: dtype === "F64" ? new Float64Array(bytes.buffer) : toFloat32(bytes, "F32"),
    };
  }
  await source.close();
  return { arrays, cases: JSON.parse(opened.metadata.get("cases")!) as Record<string, Options> };
})();

/** The arrays whose names begin with this, by the rest of their names. */
function below(prefix: string): Record<string, Array2> {
  const found = Object.entries(file.arrays).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(found.map(([name, array]) => [name.slice(prefix.length), array]));
}

function golden(name: string): Golden {
  const all = Object.entries(below(`${name}.`));
  const dataOf = (arrays: Arrays): Gradients =>
    Object.fromEntries(Object.entries(arrays).map(([key, { data }]) => [key, data]));
  return {
    options: file.cases[name],
    inputs: Object.fromEntries(all.filter(([key]) => !key.startsWith("grad."))),
    f32: dataOf(below(`${name}.grad.`)),
    f64: dataOf(below(`f64.${name}.grad.`)),
  };
}

type Uploaded = Readonly<Record<string, Tensor>>;

/** First row that each row sees and one past the last. */
function rangesOf({ lengths, causal }: Options): [number, number][] {
  const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0));
  return lengths.flatMap((length, i) =>
    Array.from({ length }, (_, r): [number, number] => [starts[i], starts[i] + (causal ? r + 1 : length)]),
  );
}

function attentionGradients(g: Gpu, { dy, q, k, v }: Uploaded, options: Options): Record<string, Tensor> {
  const table = rangesOf(options);
  const { tiles } = makeSegments(g, options.lengths);
  const ranges = g.upload(new Uint32Array(table.flat()), [table.length, 2]);
  const shape = { heads: options.heads, kvHeads: options.kv_heads, ranges, tiles };
  const got = attentionBackward(g, dy, { q, k, v, out: attention(g, q, k, v, shape) }, shape);
  return { q: got.dq, k: got.dk, v: got.dv };
}

type OnGpu = (g: Gpu, t: Uploaded, options: Options) => Record<string, Tensor>;
const weightGrad = { weightGrad: true };

/** Gradients by the name of the input. */
const onGpu: Readonly<Record<string, OnGpu>> = {
  rms_norm: (g, { dy, x, weight }, { eps }) => {
    const { dx, dWeight } = rmsNormBackward(g, dy, x, weight, eps, weightGrad);
    return { x: dx, weight: dWeight! };
  },
  layer_norm: (g, { dy, x, weight }, { eps }) => {
    const { dx, dWeight, dBias } = layerNormBackward(g, dy, x, weight, eps, weightGrad);
    return { x: dx, weight: dWeight!, bias: dBias! };
  },
  attention: attentionGradients,
  rope: (g, { dy }, { positions, head_dim, theta }) => {
    const angles = g.upload(ropeAngles(positions, head_dim, theta), [positions.length, head_dim / 2, 2]);
    return { x: ropeBackward(g, dy, angles) };
  },
  swiglu: (g, { dy, gate, up }) => {
    const { dGate, dUp } = swigluBackward(g, dy, gate, up);
    return { gate: dGate, up: dUp };
  },
  fsmn: (g, { dy, v, w }, { lengths }) => {
    const { dx, dWeight } = fsmnBackward(g, dy, v, w, makeSegments(g, lengths).ranges, weightGrad);
    return { v: dx, w: dWeight! };
  },
  relu: (g, { dy, y }) => ({ x: reluBackward(g, dy, y) }),
  bias: (g, { dy }) => ({ bias: columnSum(g, dy) }),
  take_rows: (g, { dy, x }, { indices }) => ({ x: takeRowsBackward(g, dy, indices, x.shape[0]) }),
  splice: (g, { dy, x }, { pairs }) => ({ x: copyRowsBackward(g, dy, pairs, x.shape[0]) }),
};

type InDouble = (t: Readonly<Record<string, ArrayLike<number>>>, o: Options, width: number) => Gradients;

const inDouble: Readonly<Record<string, InDouble>> = {
  rms_norm: ({ dy, x, weight }, { eps }) => {
    const { dx, dWeight } = rmsNormBackwardRef(dy, x, weight, eps);
    return { x: dx, weight: dWeight };
  },
  layer_norm: ({ dy, x, weight }, { eps }) => {
    const { dx, dWeight, dBias } = layerNormBackwardRef(dy, x, weight, eps);
    return { x: dx, weight: dWeight, bias: dBias };
  },
  attention: ({ dy, q, k, v }, options, width) => {
    const { heads, kv_heads: kvHeads } = options;
    const shape = { heads, kvHeads, headDim: width / heads };
    const { dq, dk, dv } = attentionBackwardRef(dy, { q, k, v }, rangesOf(options), shape);
    return { q: dq, k: dk, v: dv };
  },
  rope: ({ dy }, { positions, head_dim, theta }) => ({
    x: ropeBackwardRef(dy, positions, head_dim, theta),
  }),
  swiglu: ({ dy, gate, up }) => {
    const { dGate, dUp } = swigluBackwardRef(dy, gate, up);
    return { gate: dGate, up: dUp };
  },
  fsmn: ({ dy, v, w }, { lengths }, width) => {
    const { dx, dWeight } = fsmnBackwardRef(dy, v, w, width, lengths);
    return { v: dx, w: dWeight };
  },
  relu: ({ dy, y }) => ({ x: reluBackwardRef(dy, y) }),
  bias: ({ dy }, _, width) => ({ bias: columnSumRef(dy, width) }),
  take_rows: ({ dy, x }, { indices }, width) => ({
    x: copyRowsBackwardRef(
      dy,
      indices.map((row, i) => [row, i] as const),
      x.length / width,
      width,
    ),
  }),
  splice: ({ dy, x }, { pairs }, width) => ({ x: copyRowsBackwardRef(dy, pairs, x.length / width, width) }),
};

test("every op has a golden", () => {
  expect(new Set(Object.values(file.cases).map(({ op }) => op))).toEqual(new Set(Object.keys(onGpu)));
});

describe.each(Object.keys(file.cases))("%s", (name) => {
  const { options, inputs, f32, f64 } = golden(name);
  const width = inputs.dy.shape[1];

  test("the reference has PyTorch's f64 gradients", () => {
    const given = Object.fromEntries(Object.entries(inputs).map(([key, { data }]) => [key, data]));
    const got = inDouble[options.op](given, options, width);
    expect(Object.keys(got).sort()).toEqual(Object.keys(f64).sort());
    for (const [key, want] of Object.entries(f64))
      expect(relativeRms(got[key], want), key).toBeLessThan(referenceBound);
  });

  test(`at most ${allowed} times the error of PyTorch's f32`, async () => {
    const g = gpu();
    const names = Object.keys(f64);
    const got = await g.step(() => {
      const tensors = Object.entries(inputs).map(([key, { data, shape }]) => [
        key,
        g.upload(Float32Array.from(data), shape),
      ]);
      const gradients = onGpu[options.op](g, Object.fromEntries(tensors) as Uploaded, options);
      expect(Object.keys(gradients).sort()).toEqual([...names].sort());
      return names.map((key) => gradients[key]);
    });
    for (const [i, key] of names.entries()) {
      const error = relativeRms(got[i], f64[key]);
      const theirs = relativeRms(f32[key], f64[key]);
      expect(error, `${key}, of ${theirs}`).toBeLessThanOrEqual(allowed * theirs);
    }
  });
});
