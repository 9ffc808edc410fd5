import { dot } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { makeSegments } from "../attention/segments.js";
import { fsmn } from "./fsmn.js";
import { fsmnRef } from "./fsmn.ref.js";

// Rows against f64: widths around the workgroup of 64 and the real one, odd and even taps, clips
// shorter than the taps, causal taps and taps of the future, past 65,535 rows and workgroups; then
// that a clip in a batch has the bits of the clip alone, that zeros before a clip change no bit, and
// the refusals.
const gpu = useGpu();
const bound = 1e-7; // up to 20 products and sums of values near 1

async function run(
  v: Float32Array,
  w: Float32Array,
  width: number,
  lengths: readonly number[],
  left?: number,
): Promise<Float32Array> {
  return runOp(gpu(), () =>
    fsmn(
      gpu(),
      gpu().upload(v, [v.length / width, width]),
      gpu().upload(w, [width, 1, w.length / width]),
      makeSegments(gpu(), lengths).ranges,
      { left },
    ),
  );
}

test("the reference agrees with a dot product by mathjs", () => {
  const v = [1, 2, 3, 4, 5];
  const w = [0.5, -1, 0.25, 2]; // even: one row to the left, two to the right
  const padded = [0, ...v, 0, 0];
  const want = v.map((value, t) => value + dot(padded.slice(t, t + 4), w));
  expect([...fsmnRef(v, w, 1, [5])]).toEqual(want);
  expect([...fsmnRef([...v, ...v], w, 1, [5, 5])]).toEqual([...want, ...want]);
  const causal = v.map((value, t) => value + dot([0, 0, 0, ...v].slice(t, t + 4), w));
  expect([...fsmnRef(v, w, 1, [5], 3)]).toEqual(causal);
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
    { width: 512, taps: 11, lengths: [1, 2, 5, 11, 67, 1] },
    ...[1, 63, 128].map((width) => ({ width, taps: 20, lengths: [1, 19, 20, 47], left: 19 })),
    ...[0, 1, 10].map((left) => ({ width: 36, taps: 11, lengths: [13, 5], left })),
    { width: 3, taps: 11, lengths: [65_537] },
    { width: 128, taps: 3, lengths: [30_000, 2769] }, // 65,538 workgroups
  ])("width $width, $taps taps, $left to the left, clips $lengths", async (c) => {
    const { width, taps, lengths, left } = c;
    const rows = lengths.reduce((a, b) => a + b);
    const v = values(rows * width, 1);
    const w = values(width * taps, 2);
    expectClose(await run(v, w, width, lengths, left), fsmnRef(v, w, width, lengths, left), bound);
  });
});

test("a clip in a batch has the bits of the clip alone", async () => {
  const lengths = [7, 1, 31];
  const v = values(39 * 20, 1, 1000);
  const w = values(20 * 11, 2);
  const packed = await run(v, w, 20, lengths);
  let first = 0;
  for (const length of lengths) {
    const part = [first * 20, (first + length) * 20] as const;
    expect(packed.slice(...part)).toEqual(await run(v.slice(...part), w, 20, [length]));
    first += length;
  }
});

test("zeros before a clip change no bit of its causal memory", async () => {
  const v = values(31 * 20, 1, 1000);
  const w = values(20 * 20, 2);
  const padded = new Float32Array(50 * 20);
  padded.set(v, 19 * 20);
  const got = await run(padded, w, 20, [50], 19);
  expect(got.slice(19 * 20)).toEqual(await run(v, w, 20, [31], 19));
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const ranges = (rows: number): ReturnType<ReturnType<typeof gpu>["empty"]> => gpu().empty([rows, 2], "u32");
  const v = (): ReturnType<ReturnType<typeof gpu>["empty"]> => gpu().empty([6, 8]);
  await refused(
    () => fsmn(gpu(), v(), gpu().empty([8, 11]), ranges(6)),
    "fsmn: w must be [8, 1, 11], got [8, 11]",
  );
  await refused(
    () => fsmn(gpu(), v(), gpu().empty([8, 1, 11]), ranges(5)),
    "fsmn: ranges must be [6, 2], got [5, 2]",
  );
  await refused(
    () => fsmn(gpu(), v(), gpu().empty([8, 1, 11]), gpu().empty([6, 2])),
    "fsmn: ranges must be u32, got f32",
  );
  for (const left of [-1, 11, 1.5])
    await refused(
      () => fsmn(gpu(), v(), gpu().empty([8, 1, 11]), ranges(6), { left }),
      `fsmn: left must be from 0 to 10, got ${left}`,
    );
  await refused(() => makeSegments(gpu(), [3, 0]), "a clip must have at least 1 row, got 0");
});
