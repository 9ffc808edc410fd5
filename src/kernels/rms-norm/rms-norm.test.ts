import { mean, square } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { rmsNorm } from "./rms-norm.js";
import { rmsNormRef } from "./rms-norm.ref.js";

// Rows against f64: widths around the workgroup of 32, a prime and the real ones; each head of a
// row; past 65,535 rows; an offset of 1000, rows of equal values, one column of 1187; then NaN and
// the refusals. Each run with subgroups and without: the same bits.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 1.5e-7; // the division, the root and two products, 3e-8 each, and sums of up to 128 terms

interface Case {
  rows: number;
  width: number;
  heads?: number;
  offset?: number;
  outlier?: number;
  eps?: number;
}

async function run(x: Float32Array, gamma: Float32Array, heads = 1, eps?: number): Promise<Float32Array> {
  const columns = gamma.length * heads;
  const [got, plain] = await Promise.all(
    [gpu(), portable()].map((g) =>
      runOp(g, () =>
        rmsNorm(g, g.upload(x, [x.length / columns, columns]), g.upload(gamma, [gamma.length]), eps),
      ),
    ),
  );
  expect(got.findIndex((value, i) => !Object.is(value, plain[i]))).toBe(-1);
  return got;
}

test("the reference agrees with mathjs", () => {
  const x = [1, 5, -2, 0.5];
  const root = Math.sqrt(mean(x.map((value) => square(value))) + 0.1);
  const got = rmsNormRef(x, [2, 2, 2, 2], 0.1);
  for (const [i, value] of x.entries()) expect(got[i]).toBeCloseTo((2 * value) / root, 14);
});

describe("against f64", () => {
  test.each<Case>([
    ...[1, 31, 32, 33, 131, 512, 1024, 4096].map((width) => ({ rows: 5, width })),
    { rows: 3, width: 128, heads: 16 },
    { rows: 3, width: 33, heads: 7 },
    { rows: 13, width: 72 },
    { rows: 5, width: 1024, offset: 1000 },
    { rows: 5, width: 1024, outlier: 1187 },
    { rows: 5, width: 128, eps: 0.5 },
    { rows: 65_537, width: 8 },
  ])("$rows rows of $heads x $width, offset $offset, outlier $outlier", async (c) => {
    const { rows, width, heads = 1, offset, outlier, eps = 1e-6 } = c;
    const x = values(rows * heads * width, 1, offset);
    if (outlier !== undefined) for (let r = 0; r < rows; r++) x[r * width + 3] = outlier;
    const gamma = values(width, 2, 1);
    expectClose(await run(x, gamma, heads, c.eps), rmsNormRef(x, gamma, eps), bound);
  });
});

test.each([[1000.1], [-3e4], [1e-3]])("a row of equal values %f", async (value) => {
  const x = new Float32Array(1024).fill(value);
  const gamma = values(1024, 2, 1);
  expectClose(await run(x, gamma), rmsNormRef(x, gamma, 1e-6), bound);
});

test("a row of zeros stays zero", async () => {
  expect([...(await run(new Float32Array(64), values(64, 2, 1)))]).toEqual(Array(64).fill(0));
});

test("a NaN spoils its own row and no other", async () => {
  const x = values(3 * 40, 1);
  x[45] = NaN;
  const got = await run(x, values(40, 2, 1));
  expect([0, 1, 2].map((row) => got.subarray(40 * row, 40 * row + 40).filter(Number.isNaN).length)).toEqual([
    0, 40, 0,
  ]);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  await refused(
    () => rmsNorm(gpu(), gpu().empty([2, 512]), gpu().empty([100])),
    "rmsNorm: gamma must have a length that divides 512, got 100",
  );
  await refused(
    () => rmsNorm(gpu(), gpu().empty([512]), gpu().empty([512])),
    "rmsNorm: x must have 2 dimensions, got [512]",
  );
  await refused(
    () => rmsNorm(gpu(), gpu().empty([2, 512], "u32"), gpu().empty([512])),
    "rmsNorm: x must be f32, got u32",
  );
});
