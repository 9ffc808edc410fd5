import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { makeTiles } from "./segments.js";
import { Tape, type Trainable } from "../../gpu/tape.js";
import { addInto } from "../add/add-into.js";
import { add } from "../add/add.js";
import { attentionBackward } from "./attention-backward.js";
import { attention } from "./attention.js";
import { attentionBackwardRef, attentionRef } from "./attention.ref.js";

// The reference against central differences; the three gradients of both families of kernels
// against it: head widths on both sides of every layout of the threads, clips around a tile of 16
// and a block of 32, clips packed, causal with 1, 2, 4 and 8 query heads to a key head, past 65,535
// workgroups, scores of ±100; on a tape, clips of one row alone among them. Then bits: a clip in a
// batch against the clip alone, a second run against the first; a NaN stays in its clip; the
// refusals.
const gpu = useGpu();
const portable = useGpu({ subgroups: false }); // the device of the kernels without subgroups
const families = [gpu, portable];
const bound = 4e-7; // scores and dy · v off by 1e-7 each, their difference with dy · y, exp, and sums in blocks of 32

type Range = readonly [number, number];

interface Case {
  readonly heads: number;
  readonly kvHeads?: number;
  readonly headDim: number;
  readonly lengths: readonly number[];
  readonly causal?: boolean;
}

interface Inputs {
  dy: Float32Array;
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

interface Gradients {
  dq: Float32Array;
  dk: Float32Array;
  dv: Float32Array;
}

function rangesOf({ lengths, causal }: Pick<Case, "lengths" | "causal">): Range[] {
  const ranges: Range[] = [];
  for (const length of lengths) {
    const first = ranges.length;
    for (let r = 0; r < length; r++) ranges.push([first, first + (causal ? r + 1 : length)]);
  }
  return ranges;
}

function inputs(c: Case, scale = 1): Inputs {
  const { heads, kvHeads = heads, headDim } = c;
  const rows = rangesOf(c).length;
  return {
    dy: values(rows * heads * headDim, 4),
    q: values(rows * heads * headDim, 1).map((value) => value * scale),
    k: values(rows * kvHeads * headDim, 2),
    v: values(rows * kvHeads * headDim, 3),
  };
}

async function run(c: Case, { dy, q, k, v }: Inputs, on = gpu): Promise<Gradients> {
  const { heads, kvHeads = heads, headDim, lengths } = c;
  const g = on();
  const ranges = rangesOf(c);
  const shapes = { q: [ranges.length, heads * headDim], k: [ranges.length, kvHeads * headDim] };
  const [dq, dk, dv] = (await g.step(() => {
    const table = g.upload(new Uint32Array(ranges.flat()), [ranges.length, 2]);
    const options = { heads, kvHeads, ranges: table, tiles: makeTiles(g, lengths) };
    const [qt, kt, vt] = [g.upload(q, shapes.q), g.upload(k, shapes.k), g.upload(v, shapes.k)];
    const saved = { q: qt, k: kt, v: vt, out: attention(g, qt, kt, vt, options) };
    const got = attentionBackward(g, g.upload(dy, shapes.q), saved, options);
    return [got.dq, got.dk, got.dv];
  })) as Float32Array[];
  return { dq, dk, dv };
}

async function expectGradients(c: Case, data: Inputs, limit = bound): Promise<void> {
  const { heads, kvHeads = heads, headDim } = c;
  const want = attentionBackwardRef(data.dy, data, rangesOf(c), { heads, kvHeads, headDim });
  for (const on of families) {
    const got = await run(c, data, on);
    for (const name of ["dq", "dk", "dv"] as const) expectClose(got[name], want[name], limit);
  }
}

test.each([[false], [true]])("the reference agrees with central differences, causal %s", (causal) => {
  const shape = { heads: 4, kvHeads: 2, headDim: 3 };
  const ranges = rangesOf({ lengths: [4, 1, 3], causal });
  const [dy, q, k, v] = [8 * 12, 8 * 12, 8 * 6, 8 * 6].map((count, i) => doubles(count, i + 1));
  const got = attentionBackwardRef(dy, { q, k, v }, ranges, shape);
  const wants = [
    [got.dq, (at: Float64Array) => attentionRef(at, k, v, ranges, shape), q],
    [got.dk, (at: Float64Array) => attentionRef(q, at, v, ranges, shape), k],
    [got.dv, (at: Float64Array) => attentionRef(q, k, at, ranges, shape), v],
  ] as const;
  for (const [gradient, forward, at] of wants) {
    const want = centralDifferences((value) => dot(dy, forward(value)), at);
    expectClose(gradient, want, differenceBound);
  }
});

describe("against f64", () => {
  test.each<[string, Case]>([
    ...[4, 20, 24, 32, 36, 64, 68, 128, 132, 256, 320, 512].map((headDim): [string, Case] => [
      `heads of ${headDim}`,
      { heads: 3, headDim, lengths: [13, 34] },
    ]),
    ...[2, 15, 16, 17, 31, 32, 33, 67, 131].map((length): [string, Case] => [
      `a clip of ${length} rows`,
      { heads: 2, headDim: 36, lengths: [length] },
    ]),
    ["many clips", { heads: 4, headDim: 128, lengths: [1, 67, 2, 5, 33, 1] }],
    ...[8, 4, 2, 1].map((kvHeads): [string, Case] => [
      `causal, 8 heads on ${kvHeads}`,
      { heads: 8, kvHeads, headDim: 64, lengths: [37, 1, 16, 66], causal: true },
    ]),
    ["causal, heads of 256", { heads: 4, kvHeads: 2, headDim: 256, lengths: [5, 40], causal: true }],
    ["past 65,535 workgroups", { heads: 64, headDim: 4, lengths: Array<number>(1025).fill(4) }],
  ])("%s", async (_, c) => {
    await expectGradients(c, inputs(c));
  });

  test("clips of one row: the gradient of the value is dy, of query and key nothing", async () => {
    const c: Case = { heads: 2, headDim: 36, lengths: [1, 1, 1] };
    const data = inputs(c);
    for (const on of families) {
      const { dq, dk, dv } = await run(c, data, on);
      expect(dv).toEqual(data.dy);
      for (const gradient of [dq, dk]) {
        expect(gradient.reduce((a, b) => Math.max(a, Math.abs(b)), 0)).toBeLessThan(1e-6);
      }
    }
  });

  test.each([[[1, 1, 1]], [[5, 1]]])("on a tape, clips of %j rows", async (lengths) => {
    const c: Case = { heads: 2, headDim: 36, lengths };
    const g = gpu();
    const data = inputs(c);
    const ranges = rangesOf(c);
    const shape = [ranges.length, 72];
    const trained = (["q", "k", "v"] as const).map((name): Trainable => {
      const value = g.keep(shape, "f32");
      g.write(value, data[name] as Float32Array<ArrayBuffer>);
      return { name, value, gradient: g.keep(shape, "f32") };
    });
    const got = await g.step(() => {
      const tape = new Tape(g, trained, { add, addInto });
      const table = g.upload(new Uint32Array(ranges.flat()), [ranges.length, 2]);
      const [q, k, v] = trained.map(({ value }) => value);
      g.tape = tape;
      const y = attention(g, q, k, v, { heads: 2, ranges: table, tiles: makeTiles(g, lengths) });
      g.tape = undefined;
      tape.add(y, g.upload(data.dy, shape));
      tape.backward();
      return trained.map(({ gradient }) => gradient);
    });
    for (const { value, gradient } of trained) for (const tensor of [value, gradient]) g.free(tensor);
    const { dq, dk, dv } = await run(c, data);
    expect(got).toEqual([dq, dk, dv]);
    expect(dv.some((value) => value !== 0)).toBe(true);
  });

  // Errors of the scores, relative to 100 now, become relative errors of the probabilities.
  test.each([[4], [128]])("scores of ±100, heads of %i", async (headDim) => {
    const c: Case = { heads: 2, headDim, lengths: [70] };
    await expectGradients(c, inputs(c, 75), 3e-6);
  });
});

describe.each([
  ["subgroups", gpu],
  ["portable", portable],
] as const)("%s, bit for bit", (_, on) => {
  test.each([[false], [true]])("a clip in a batch is the clip alone, causal %s", async (causal) => {
    const lengths = [34, 1, 67, 5];
    const batch: Case = { heads: 4, kvHeads: 2, headDim: 36, lengths, causal };
    const data = inputs(batch);
    const together = await run(batch, data, on);
    let first = 0;
    for (const length of lengths) {
      const cut = (x: Float32Array): Float32Array => {
        const width = x.length / 107;
        return x.slice(first * width, (first + length) * width);
      };
      const part = { dy: cut(data.dy), q: cut(data.q), k: cut(data.k), v: cut(data.v) };
      const alone = await run({ ...batch, lengths: [length] }, part, on);
      for (const name of ["dq", "dk", "dv"] as const) expect(cut(together[name])).toEqual(alone[name]);
      first += length;
    }
  });

  test("a second run is the first", async () => {
    const c: Case = { heads: 8, kvHeads: 2, headDim: 64, lengths: [90, 41], causal: true };
    expect(await run(c, inputs(c), on)).toEqual(await run(c, inputs(c), on));
  });
});

test.each([
  ["subgroups", gpu],
  ["portable", portable],
] as const)("a NaN spoils its clip and no other: %s", async (_, on) => {
  const c: Case = { heads: 1, headDim: 4, lengths: [20, 20, 20], causal: true };
  const clean = await run(c, inputs(c), on);
  for (const name of ["dy", "q", "k", "v"] as const) {
    const data = inputs(c);
    data[name][20 * 4] = NaN; // first row of the second clip
    const got = await run(c, data, on);
    for (const part of ["dq", "dk", "dv"] as const) {
      for (const clip of [0, 2]) {
        const cut = (x: Float32Array): Float32Array => x.slice(clip * 80, clip * 80 + 80);
        expect(cut(got[part])).toEqual(cut(clean[part]));
      }
    }
    expect(got.dk.slice(80, 160).some(Number.isNaN)).toBe(true);
  }
});

test("refusals", async () => {
  const g = gpu();
  interface Given {
    dy?: number[];
    k?: number[];
    heads?: number;
    kvHeads?: number;
    ranges?: number[];
  }
  const call = ({ dy = [3, 64], k = [3, 32], heads = 4, kvHeads = 2, ranges = [3, 2] }: Given): unknown =>
    attentionBackward(
      g,
      g.empty(dy),
      { q: g.empty([3, 64]), k: g.empty(k), v: g.empty(k), out: g.empty([3, 64]) },
      { heads, kvHeads, ranges: g.empty(ranges, "u32"), tiles: makeTiles(g, [3]) },
    );
  const refused = async (given: Given, message: string): Promise<void> =>
    expect(g.step(() => (call(given), []))).rejects.toThrow(new ShapeError(`attentionBackward: ${message}`));
  await refused({ heads: 32 }, "head_dim must be a multiple of 4 up to 512, got 64 / 32 heads");
  await refused({ kvHeads: 3 }, "kvHeads must divide 4 heads, got 3");
  await refused({ dy: [2, 64] }, "dy must be [3, 64], got [2, 64]");
  await refused({ k: [5, 32] }, "k must be [3, 32], got [5, 32]");
  await refused({ ranges: [4, 2] }, "ranges must be [3, 2], got [4, 2]");
});
