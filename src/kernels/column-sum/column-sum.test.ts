import { sum } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { columnSum, columnSumNormed } from "./column-sum.js";
import { columnSumRef } from "./column-sum.ref.js";

// Columns against f64: rows around one block of 32, two stages and three, widths around the
// workgroup of 64, past 65,535 workgroups; 100,000 rows of 0.1, where one accumulator is off by
// 1e-4; then NaN and the refusals.
const gpu = useGpu();
const bound = 1e-7; // at most 8 additions in a row; 8.3e-8, as torch.sum has, for 100,000 equal rows

const run = (x: Float32Array, width: number): Promise<Float32Array> =>
  runOp(gpu(), () => columnSum(gpu(), gpu().upload(x, [x.length / width, width])));

test("the reference agrees with mathjs", () => {
  const x = [[1, 2.5], [-3, 4], [0.25, 8]]; // prettier-ignore
  expect([...columnSumRef(x.flat(), 2)]).toEqual(sum(x, 0));
});

describe("against f64", () => {
  test.each([
    ...[1, 2, 31, 32, 33, 1023, 1024, 1025, 33_000].map((rows) => [rows, 5]),
    ...[1, 63, 64, 65, 131].map((width) => [67, width]),
    [2, 65_535 * 64 + 1],
  ])("%i rows of %i", async (rows, width) => {
    const x = values(rows * width, 1, 0.5);
    expectClose(await run(x, width), columnSumRef(x, width), bound);
  });

  test("100,000 rows of 0.1", async () => {
    const x = new Float32Array(100_000).fill(0.1);
    expectClose(await run(x, 1), columnSumRef(x, 1), bound);
  });
});

test("a NaN spoils its own column and no other", async () => {
  const x = values(40 * 3, 1);
  x[33 * 3 + 1] = NaN;
  expect([...(await run(x, 3))].map(Number.isNaN)).toEqual([false, true, false]);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const g = gpu();
  await refused(() => columnSum(g, g.empty([4])), "columnSum: x must have 2 dimensions, got [4]");
  await refused(() => columnSum(g, g.empty([0, 4])), "columnSum: x must have at least 1 row, got 0");
  await refused(() => columnSum(g, g.empty([2, 4], "u32")), "columnSum: x must be f32, got u32");
  await refused(
    () => columnSumNormed(g, g.empty([2, 4]), g.empty([2, 5]), g.empty([2, 4])),
    "columnSumNormed: x must be [2, 4], got [2, 5]",
  );
});
