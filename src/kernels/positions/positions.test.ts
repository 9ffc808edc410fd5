import { evaluate } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { makeSegments } from "../attention/segments.js";
import { positions, sinusoids } from "./positions.js";
import { positionsRef } from "./positions.ref.js";

// Rows against f64: widths around the workgroup of 64 and the real one, clips packed, past 65,535
// rows; the table alone against the formula; a batch against its clips; then the refusals.
const gpu = useGpu();
const bound = 6e-8; // a rounded table entry and one fused sum, 3e-8 each

async function run(x: Float32Array, width: number, scale: number, lengths: number[]): Promise<Float32Array> {
  const longest = Math.max(...lengths);
  return runOp(gpu(), () =>
    positions(
      gpu(),
      gpu().upload(x, [x.length / width, width]),
      gpu().upload(sinusoids(longest, width), [longest, width]),
      scale,
      makeSegments(gpu(), lengths),
    ),
  );
}

test("the reference agrees with mathjs", () => {
  const got = positionsRef(new Float64Array(12), 6, 1, [2]);
  const want = evaluate(
    "concat([sin(2), sin(2 * 10000^-0.5), sin(2e-4)], [cos(2), cos(2 * 10000^-0.5), cos(2e-4)])",
  ) as {
    toArray(): number[];
  };
  for (const [i, value] of want.toArray().entries()) expect(got[6 + i]).toBeCloseTo(value, 14);
});

test("every entry of the table is the rounded formula", () => {
  expectClose(sinusoids(2000, 560), positionsRef(new Float64Array(2000 * 560), 560, 1, [2000]), 3e-8); // 2^-24 / 2
});

interface Case {
  width: number;
  lengths: number[];
}

describe("against f64", () => {
  test.each<Case>([
    ...[4, 62, 64, 66, 560].map((width) => ({ width, lengths: [3] })),
    { width: 560, lengths: [1, 67, 2, 13] },
    { width: 4, lengths: [65_537] },
  ])("width $width, clips $lengths", async ({ width, lengths }) => {
    const x = values(lengths.reduce((a, b) => a + b) * width, 1);
    const scale = Math.fround(512 ** 0.5);
    expectClose(await run(x, width, scale, lengths), positionsRef(x, width, scale, lengths), bound);
  });
});

test("a clip in a batch has the bits of the clip alone", async () => {
  const x = values(10 * 560, 1);
  const packed = await run(x, 560, 22.6, [7, 3]);
  expect(packed.slice(7 * 560)).toEqual(await run(x.slice(7 * 560), 560, 22.6, [3]));
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const call = (x: number[], table: number[], lengths: number[]): void =>
    void positions(gpu(), gpu().empty(x), gpu().empty(table), 1, makeSegments(gpu(), lengths));
  await refused(() => call([5, 8], [4, 8], [5]), "positions: table must be [5, 8], got [4, 8]");
  await refused(() => call([5, 8], [5, 6], [5]), "positions: table must be [5, 8], got [5, 6]");
  await refused(() => call([5, 8], [5, 8], [4]), "positions: ranges must be [5, 2], got [4, 2]");
  await refused(() => call([5], [5, 8], [5]), "positions: x must have 2 dimensions, got [5]");
});
