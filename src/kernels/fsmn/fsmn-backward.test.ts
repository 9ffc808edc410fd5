import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { makeSegments } from "../attention/segments.js";
import { fsmnBackward } from "./fsmn-backward.js";
import { fsmnBackwardRef, fsmnRef } from "./fsmn.ref.js";

// The reference against central differences; both gradients against it: widths around the workgroup
// of 64 and the real one, odd and even taps, clips shorter than the taps, clips that end within a
// block of 32 rows of the taps' sum, past 65,535 rows and workgroups; then that a clip in a batch
// has the bits of the clip alone, NaN and the refusals.
const gpu = useGpu();
const bound = 1e-7; // up to 12 products and sums of values near 1; of the taps, sums of 8 products

interface Gradients {
  dx: Float32Array;
  dWeight: Float32Array;
}

interface Inputs {
  dy: Float32Array;
  v: Float32Array;
  w: Float32Array;
}

const sumOf = (lengths: readonly number[]): number => lengths.reduce((a, b) => a + b);

function inputs(width: number, taps: number, lengths: readonly number[]): Inputs {
  const count = sumOf(lengths) * width;
  return { dy: values(count, 1), v: values(count, 2), w: values(width * taps, 3) };
}

async function run(
  { dy, v, w }: Inputs,
  width: number,
  lengths: readonly number[],
  left?: number,
): Promise<Gradients> {
  const g = gpu();
  const shape = [v.length / width, width];
  const [dx, dWeight] = (await g.step(() => {
    const taps = g.upload(w, [width, 1, w.length / width]);
    const { ranges } = makeSegments(g, lengths);
    const options = { weightGrad: true, left };
    const got = fsmnBackward(g, g.upload(dy, shape), g.upload(v, shape), taps, ranges, options);
    expect(got.dWeight!.shape).toEqual([width, 1, w.length / width]);
    return [got.dx, got.dWeight!];
  })) as Float32Array[];
  return { dx, dWeight };
}

test.each([
  [1, undefined],
  [2, undefined],
  [4, undefined],
  [5, undefined],
  [4, 3],
])("the reference agrees with central differences, %i taps, %s to the left", (taps, left) => {
  const [dy, v, w] = [doubles(9 * 3, 1), doubles(9 * 3, 2), doubles(3 * taps, 3)];
  const lengths = [6, 1, 2];
  const { dx, dWeight } = fsmnBackwardRef(dy, v, w, 3, lengths, left);
  expectClose(
    dx,
    centralDifferences((at) => dot(dy, fsmnRef(at, w, 3, lengths, left)), v),
    differenceBound,
  );
  expectClose(
    dWeight,
    centralDifferences((at) => dot(dy, fsmnRef(v, at, 3, lengths, left)), w),
    differenceBound,
  );
});

interface Case {
  width: number;
  taps: number;
  lengths: number[];
  left?: number;
}

describe("against f64", () => {
  test.each<Case>([
    ...[1, 63, 64, 65, 131, 512].map((width) => ({ width, taps: 11, lengths: [17] })),
    ...[1, 2, 3, 4, 12].map((taps) => ({ width: 36, taps, lengths: [13, 5] })),
    ...[31, 32, 33, 1030].map((rows) => ({ width: 20, taps: 11, lengths: [rows] })),
    { width: 512, taps: 11, lengths: [1, 2, 5, 11, 67, 1] },
    { width: 128, taps: 20, lengths: [1, 19, 20, 47], left: 19 },
    ...[0, 1, 10].map((left) => ({ width: 36, taps: 11, lengths: [13, 5], left })),
    { width: 3, taps: 11, lengths: [65_537] },
    { width: 128, taps: 3, lengths: [30_000, 2769] }, // 65,538 workgroups
  ])("width $width, $taps taps, $left to the left, clips $lengths", async (c) => {
    const { width, taps, lengths, left } = c;
    const data = inputs(width, taps, lengths);
    const got = await run(data, width, lengths, left);
    const want = fsmnBackwardRef(data.dy, data.v, data.w, width, lengths, left);
    expectClose(got.dx, want.dx, bound);
    expectClose(got.dWeight, want.dWeight, 2 * bound);
  });
});

test("a clip in a batch has the bits of the clip alone", async () => {
  const lengths = [7, 1, 31];
  const data = inputs(20, 11, lengths);
  const packed = await run(data, 20, lengths);
  let first = 0;
  for (const length of lengths) {
    const cut = (x: Float32Array): Float32Array => x.slice(first * 20, (first + length) * 20);
    const alone = await run({ dy: cut(data.dy), v: cut(data.v), w: data.w }, 20, [length]);
    expect(cut(packed.dx)).toEqual(alone.dx);
    first += length;
  }
});

test("a NaN spoils the rows of its clip that the taps reach, and its channel's taps", async () => {
  const data = inputs(4, 3, [5, 5]);
  data.dy[4 * 4 + 1] = NaN; // last row of the first clip
  const { dx, dWeight } = await run(data, 4, [5, 5]);
  expect([...dx.keys()].filter((i) => Number.isNaN(dx[i]))).toEqual([3 * 4 + 1, 4 * 4 + 1]);
  expect([...dWeight.keys()].filter((i) => Number.isNaN(dWeight[i]))).toEqual([3, 4]); // the third tap read past the clip
});

test("without weightGrad only dx is made", async () => {
  const g = gpu();
  await g.step(() => {
    const { ranges } = makeSegments(g, [3]);
    expect(fsmnBackward(g, g.empty([3, 4]), g.empty([3, 4]), g.empty([4, 1, 3]), ranges).dWeight).toBe(undefined); // prettier-ignore
    return [];
  });
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const g = gpu();
  const call = (dy: number[], w: number[], ranges: number[]): unknown =>
    fsmnBackward(g, g.empty(dy), g.empty([6, 8]), g.empty(w), g.empty(ranges, "u32"));
  await refused(() => call([6, 7], [8, 1, 11], [6, 2]), "fsmnBackward: dy must be [6, 8], got [6, 7]");
  await refused(() => call([6, 8], [8, 11], [6, 2]), "fsmnBackward: w must be [8, 1, 11], got [8, 11]");
  await refused(() => call([6, 8], [8, 1, 11], [5, 2]), "fsmnBackward: ranges must be [6, 2], got [5, 2]");
});
