import { exp, multiply, sum, transpose } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { makeTiles } from "./segments.js";
import type { Tensor } from "../../gpu/tensor.js";
import { gpuSizes } from "../gpu-sizes.js";
import { attention } from "./attention.js";
import { attentionRef } from "./attention.ref.js";

// The context against f64: every head width from 4 to 512, runs around a tile of 16 query rows, a
// run of 32 keys and a chunk of 128, clips packed, causal with 1, 2, 3 and 4 query heads to a key
// head, over a cache, past 65,535 workgroups, scores of ±100, an offset and NaN in tiles and row by
// row. Then bits: a clip in a batch against the clip alone, a token through the cache against the
// prefill, tiles of 1 and 16, a range that is split among workgroups against one that is not, keys in
// pages against keys in their order, and every case with subgroups against without.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 2.5e-7; // scores off by 1e-7 each, exp by 4.5e-8, and sums in blocks of 32: 1.8e-7 over 517 keys

type Range = readonly [number, number];

interface Case {
  readonly heads: number;
  readonly kvHeads?: number;
  readonly headDim: number;
  /** Query rows of each run */
  readonly lengths: readonly number[];
  /** For each query row, the key rows that it sees */
  readonly ranges: readonly Range[];
  readonly keyRows: number;
  /** Keys of a range at most. */
  readonly longest?: number;
  /** Where pages of 32 key rows lie. */
  readonly pages?: readonly number[];
}

/** Every row of a clip sees the whole clip. */
function clips(lengths: readonly number[]): Pick<Case, "lengths" | "ranges" | "keyRows"> {
  const ranges: Range[] = [];
  let first = 0;
  for (const length of lengths) {
    for (let r = 0; r < length; r++) ranges.push([first, first + length]);
    first += length;
  }
  return { lengths, ranges, keyRows: first };
}

/**
 * Sequences in a cache of `room` key rows each: `past` rows are there, `length` new ones see them
 * and up to themselves.
 */
function cached(
  room: number,
  runs: readonly (readonly [past: number, length: number])[],
): ReturnType<typeof clips> {
  const ranges = runs.flatMap(([past, length], i) =>
    Array.from({ length }, (_, r): Range => [i * room, i * room + past + r + 1]),
  );
  return { lengths: runs.map(([, length]) => length), ranges, keyRows: runs.length * room };
}

interface Inputs {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

function inputs({ heads, kvHeads = heads, headDim, ranges, keyRows }: Case, scale = 1): Inputs {
  return {
    q: values(ranges.length * heads * headDim, 1).map((value) => value * scale),
    k: values(keyRows * kvHeads * headDim, 2),
    v: values(keyRows * kvHeads * headDim, 3),
  };
}

async function run(c: Case, { q, k, v }: Inputs, g = gpu()): Promise<Float32Array> {
  const { heads, kvHeads = heads, headDim, lengths, ranges, keyRows, longest, pages } = c;
  return runOp(g, () =>
    attention(
      g,
      g.upload(q, [ranges.length, heads * headDim]),
      g.upload(k, [keyRows, kvHeads * headDim]),
      g.upload(v, [keyRows, kvHeads * headDim]),
      {
        heads,
        kvHeads,
        ranges: g.upload(new Uint32Array(ranges.flat()), [ranges.length, 2]),
        tiles: makeTiles(g, lengths),
        longest,
        pages: pages && g.upload(new Uint32Array(pages), [pages.length]),
      },
    ),
  );
}

function reference({ heads, kvHeads = heads, headDim, ranges }: Case, { q, k, v }: Inputs): Float64Array {
  return attentionRef(q, k, v, ranges, { heads, kvHeads, headDim });
}

/** The largest |q · k| / √headDim of any row and key of the first head. */
function largestScore({ heads, headDim, ranges, keyRows }: Case, { q, k }: Inputs): number {
  let largest = 0;
  for (let row = 0; row < ranges.length; row++) {
    for (let key = 0; key < keyRows; key++) {
      let score = 0;
      for (let i = 0; i < headDim; i++) score += q[row * heads * headDim + i] * k[key * heads * headDim + i];
      largest = Math.max(largest, Math.abs(score) / Math.sqrt(headDim));
    }
  }
  return largest;
}

test("the reference agrees with mathjs", () => {
  const [q, k, v] = [[[1, -1]], [[0.5, 2], [3, 1], [-1, 0.25]], [[1, 2], [3, 4], [5, 6]]]; // prettier-ignore
  const scores = multiply(q, transpose(k)).map((row) => row.map((score) => score * Math.SQRT1_2));
  const weights = scores.map((row) => row.map((score) => exp(score)));
  const want = multiply(weights, v).map((row) => row.map((value) => value / Number(sum(weights))));
  const one = { heads: 1, kvHeads: 1, headDim: 2 };
  const got = attentionRef(q.flat(), k.flat(), v.flat(), [[0, 3]], one);
  for (const i of [0, 1]) expect(got[i]).toBeCloseTo(want[0][i], 14);
  // A row that sees one key takes its value; heads 2 and 3 of 4 share key head 1.
  expect([...attentionRef([9, 9], [9, 9, 9], [1, 2, 3], [[1, 2], [2, 3]], { ...one, headDim: 1 })]).toEqual([2, 3]); // prettier-ignore
  expect([...attentionRef([1, 1, 1, 1], [1, 1], [5, 6], [[0, 1]], { heads: 4, kvHeads: 2, headDim: 1 })]).toEqual([5, 5, 6, 6]); // prettier-ignore
});

type Way = "in tiles" | "row by row" | "row by row, split";
const ways: readonly Way[] = ["in tiles", "row by row", "row by row, split"];
const fewRows = 20; // so few that longer ranges than these are split among workgroups

/** A case and its inputs as they run one way; row by row it is the last rows alone. */
function arrange(way: Way, c: Case, data: Inputs): [Case, Inputs] {
  if (way === "in tiles") return [c, data];
  const one = { ...c, ranges: c.ranges.slice(-fewRows), lengths: Array<number>(fewRows).fill(1) };
  const q = data.q.slice(-fewRows * c.heads * c.headDim);
  return [
    { ...one, longest: way === "row by row" ? 512 : 513 },
    { ...data, q },
  ];
}

/** Runs a case with subgroups and without: the same bits. */
async function runBoth(way: Way, c: Case, data: Inputs): Promise<Float32Array> {
  const before = gpu().counts.dispatches;
  const got = await run(c, data);
  expect(gpu().counts.dispatches - before).toBe(way === "row by row, split" ? 2 : 1);
  expect(await run(c, data, portable())).toEqual(got);
  return got;
}

describe("against f64", () => {
  test.each<[string, Case]>([
    ...[4, 36, 64, 124, 128, 132, 256, 320, 512].map((headDim): [string, Case] => [
      `heads of ${headDim}`,
      { heads: 3, headDim, ...clips([13, 34]) },
    ]),
    ...[1, 15, 16, 17, 31, 32, 33, 67, 127, 128, 129, 517].map((length): [string, Case] => [
      `a clip of ${length} rows`,
      { heads: 2, headDim: 36, ...clips([length]) },
    ]),
    ["many clips", { heads: 4, headDim: 128, ...clips([1, 67, 2, 5, 33, 1]) }],
    ...[8, 4, 2].map((kvHeads): [string, Case] => [
      `causal, 8 heads on ${kvHeads}`,
      { heads: 8, kvHeads, headDim: 64, ...cached(37, [[0, 37]]) },
    ]),
    ["prefill over a cache", { heads: 4, kvHeads: 2, headDim: 128, ...cached(90, [[40, 7], [0, 33], [71, 1]]) }], // prettier-ignore
    ...[3, 1].map((kvHeads): [string, Case] => [
      `one token over a cache, 3 heads on ${kvHeads}`,
      {
        heads: 3,
        kvHeads,
        headDim: 128,
        ...cached(700, [
          [0, 1],
          [31, 1],
          [698, 1],
        ]),
      },
    ]),
    ["one token over a short cache", { heads: 4, kvHeads: 1, headDim: 320, ...cached(130, [[0, 1], [127, 1], [128, 1]]) }], // prettier-ignore
    ["past 65,535 workgroups", { heads: 64, headDim: 4, ...clips(Array<number>(1025).fill(4)) }],
  ])("%s", async (_, c) => {
    const data = inputs(c);
    const got = await run(c, data);
    expectClose(got, reference(c, data), bound);
    expect(await run(c, data, portable())).toEqual(got);
  });

  describe.each(ways)("%s", (way) => {
    // Errors of the scores, relative to 100 now, become relative errors of the weights: 8.4e-7
    // measured.
    test.each([[4], [128]])("scores of ±100, heads of %i", async (headDim) => {
      const whole: Case = { heads: 2, headDim, ...clips([70]) };
      const [c, data] = arrange(way, whole, inputs(whole));
      const scale = 100 / largestScore(c, data);
      data.q = data.q.map((value) => value * scale);
      expectClose(await runBoth(way, c, data), reference(c, data), 1.5e-6);
    });

    test("equal keys give the mean of the values, an offset of 1000", async () => {
      const whole: Case = { heads: 1, headDim: 64, ...clips([131]) };
      const [c, data] = arrange(way, whole, {
        q: values(131 * 64, 1),
        k: new Float32Array(131 * 64).fill(0.5),
        v: values(131 * 64, 3, 1000),
      });
      expectClose(await runBoth(way, c, data), reference(c, data), bound);
    });

    test("a NaN in a key spoils the rows that see it and no other", async () => {
      const whole: Case = { heads: 1, headDim: 4, ...cached(300, [[0, 300]]) };
      const [c, data] = arrange(way, whole, inputs(whole));
      data.k[290 * 4] = NaN;
      const got = await runBoth(way, c, data);
      const spoiled = Array.from(got, Number.isNaN);
      expect(spoiled).toEqual(c.ranges.flatMap(([, end]) => Array<boolean>(4).fill(end > 290)));
    });
  });
});

/** Rows [from, to) of a packed array. */
const rowsOf = (data: Float32Array, width: number, from: number, to: number): Float32Array =>
  data.slice(from * width, to * width);

describe("bit for bit", () => {
  test("a clip in a batch is the clip alone", async () => {
    const lengths = [34, 1, 67, 5];
    const batch: Case = { heads: 4, headDim: 36, ...clips(lengths) };
    const data = inputs(batch);
    const together = await run(batch, data);
    let first = 0;
    for (const length of lengths) {
      const cut = (part: Float32Array): Float32Array => rowsOf(part, 144, first, first + length);
      const alone = await run(
        { ...batch, ...clips([length]) },
        { q: cut(data.q), k: cut(data.k), v: cut(data.v) },
      );
      expect(cut(together)).toEqual(alone);
      first += length;
    }
  });

  // 300 key rows have one workgroup go through a row's keys; 600 split them.
  test.each([
    [300, 1],
    [600, 2],
  ])("a token through a cache of %i is the last row of the prefill", async (room, dispatches) => {
    const shape = { heads: 4, kvHeads: 2, headDim: 128 };
    const prefill: Case = { ...shape, ...cached(room, [[0, 300]]) };
    const data = inputs(prefill);
    const all = await run(prefill, data);
    for (const past of [0, 31, 32, 127, 128, 299]) {
      const token: Case = { ...shape, ...cached(room, [[past, 1]]) };
      const before = gpu().counts.dispatches;
      const got = await run(token, { ...data, q: rowsOf(data.q, 512, past, past + 1) });
      expect(gpu().counts.dispatches - before).toBe(dispatches);
      expect(got).toEqual(rowsOf(all, 512, past, past + 1));
    }
  });

  test("a batch of tokens over a cache, split and not", async () => {
    const c: Case = { heads: 3, kvHeads: 1, headDim: 132, ...cached(400, [[0, 1], [399, 1], [255, 1]]) }; // prettier-ignore
    const data = inputs(c);
    expect(await run({ ...c, longest: 1200 }, data)).toEqual(await run({ ...c, longest: 400 }, data));
  });

  test.each([
    [128, 1],
    [129, 2],
    [300, 2],
  ])("on a GPU a range of %i keys takes %i dispatches", async (keys, dispatches) => {
    const rows = cached(keys, [[keys - 1, 1], [0, 1]]); // prettier-ignore
    const c: Case = { heads: 4, kvHeads: 2, headDim: 128, ...rows, longest: keys };
    const data = inputs(c);
    for (const family of [gpu(), portable()]) {
      const want = await run(c, data, family);
      family.tuning = gpuSizes({ vendor: "nvidia" } as GPUAdapterInfo);
      const before = family.counts.dispatches;
      const got = await run(c, data, family);
      expect(family.counts.dispatches - before).toBe(dispatches);
      expect(got).toEqual(want);
      family.tuning = {};
    }
  });

  const single: Range[] = [[33, 34], [63, 64]]; // prettier-ignore
  test.each<[string, number, Pick<Case, "lengths" | "ranges" | "keyRows">]>([
    ["in tiles", 1, cached(160, [[40, 7], [0, 33], [127, 20], [159, 1]])], // prettier-ignore
    ["row by row", 1, cached(160, [[0, 1], [31, 1], [32, 1], [127, 1], [159, 1]])], // prettier-ignore
    ["row by row, split", 2, cached(640, [[0, 1], [300, 1], [639, 1]])], // prettier-ignore
    ["one key each, inside of a page", 1, { lengths: [1, 1], ranges: single, keyRows: 64 }],
  ])("keys in pages, %s", async (_, dispatches, rows) => {
    const whole: Case = { heads: 4, kvHeads: 2, headDim: 132, ...rows };
    const data = inputs(whole);
    const count = whole.keyRows / 32;
    const pages = Array.from({ length: count }, (_, i) => 2 * ((7 * i + 3) % count) + 1);
    expect(new Set(pages).size).toBe(count);
    const scatter = (from: Float32Array): Float32Array => {
      const page = 32 * 2 * 132;
      const to = new Float32Array(2 * from.length).fill(NaN);
      for (const [i, at] of pages.entries()) to.set(from.subarray(i * page, (i + 1) * page), at * page);
      return to;
    };
    const longest = dispatches > 1 ? whole.keyRows : 160;
    const c: Case = { ...whole, keyRows: 2 * whole.keyRows, longest, pages };
    const paged = { ...data, k: scatter(data.k), v: scatter(data.v) };
    const want = await run(whole, data);
    expect(want.some(Number.isNaN)).toBe(false);
    for (const family of [gpu(), portable()]) {
      const before = family.counts.dispatches;
      expect(await run(c, paged, family)).toEqual(want);
      expect(family.counts.dispatches - before).toBe(dispatches);
    }
  });

  test("tiles of 1 row and of 16 rows", async () => {
    const c: Case = { heads: 4, kvHeads: 1, headDim: 68, ...cached(90, [[20, 70]]) };
    const data = inputs(c);
    expect(await run({ ...c, lengths: Array<number>(70).fill(1) }, data)).toEqual(await run(c, data));
  });
});

test("refusals", async () => {
  interface Given {
    q?: number[];
    k?: number[];
    v?: number[];
    ranges?: Tensor;
    heads?: number;
    kvHeads?: number;
  }
  const call = (g: Gpu, { q = [3, 64], k = [5, 32], v = k, heads = 4, kvHeads = 2, ranges }: Given): void =>
    void attention(g, g.empty(q), g.empty(k), g.empty(v), {
      heads,
      kvHeads,
      ranges: ranges ?? g.empty([q[0], 2], "u32"),
      tiles: makeTiles(g, [q[0]]),
    });
  const refused = async (given: () => Given, message: string): Promise<void> =>
    expect(gpu().step(() => (call(gpu(), given()), []))).rejects.toThrow(new ShapeError(message));
  const headDim = "attention: head_dim must be a multiple of 4 up to 512, got";
  await refused(() => ({ q: [3, 66], heads: 4 }), `${headDim} 66 / 4 heads`);
  await refused(() => ({ q: [3, 24], heads: 4 }), `${headDim} 24 / 4 heads`);
  await refused(() => ({ q: [3, 516], heads: 1, kvHeads: 1 }), `${headDim} 516 / 1 heads`);
  await refused(() => ({ kvHeads: 3 }), "attention: kvHeads must divide 4 heads, got 3");
  await refused(() => ({ k: [5, 64] }), "attention: k must be [5, 32], got [5, 64]");
  await refused(() => ({ v: [6, 32] }), "attention: v must be [5, 32], got [6, 32]");
  await refused(
    () => ({ ranges: gpu().empty([4, 2], "u32") }),
    "attention: ranges must be [3, 2], got [4, 2]",
  );
  await refused(() => ({ ranges: gpu().empty([3, 2]) }), "attention: ranges must be u32, got f32");
  await refused(() => ({ q: [64] }), "attention: q must have 2 dimensions, got [64]");
});
