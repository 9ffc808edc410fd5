import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { rope, ropeAngles, ropeBackward } from "./rope.js";
import { ropeBackwardRef, ropeRef } from "./rope.ref.js";

// The reference against central differences; the gradient against it, for head widths and counts of
// the real models and odd ones, positions up to 40,959, past 65,535 rows; YaRN's factor, which
// scales gradient and value alike; NaN and refusals.
const gpu = useGpu();
const bound = 1e-7; // a rounded cosine and sine, two products and a sum, 3e-8 each

const to = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test("the reference agrees with central differences", () => {
  const positions = [0, 7, 40_959];
  const [dy, x] = [doubles(3 * 12, 1), doubles(3 * 12, 2)];
  expectClose(
    ropeBackwardRef(dy, positions, 6, 100),
    centralDifferences((at) => dot(dy, ropeRef(at, positions, 6, 100)), x),
    differenceBound,
  );
});

interface Case {
  heads: number;
  headDim: number;
  positions: number[];
}

describe("against f64", () => {
  test.each<Case>([
    { heads: 1, headDim: 2, positions: [3] },
    ...[24, 32, 126, 128, 130].map((headDim) => ({ heads: 1, headDim, positions: [5] })),
    { heads: 7, headDim: 34, positions: to(13) },
    { heads: 16, headDim: 128, positions: to(67) },
    { heads: 8, headDim: 128, positions: [40_957, 40_958, 40_959, 32_767, 0, 1] },
    { heads: 1, headDim: 4, positions: to(65_537) },
  ])("$heads heads of $headDim", async ({ heads, headDim, positions }) => {
    const rows = positions.length;
    const dy = values(rows * heads * headDim, 1);
    const angles = ropeAngles(positions, headDim, 1e6);
    const got = await runOp(gpu(), () =>
      ropeBackward(
        gpu(),
        gpu().upload(dy, [rows, heads * headDim]),
        gpu().upload(angles, [rows, headDim / 2, 2]),
      ),
    );
    expectClose(got, ropeBackwardRef(dy, positions, headDim, 1e6), bound);
  });
});

test("turned forth and back, a row is multiplied by the square of the angles' factor", async () => {
  const angles = ropeAngles([5, 11], 8, 100).map((value) => 1.25 * value);
  const x = values(2 * 24, 1);
  const got = await runOp(gpu(), () => {
    const turns = gpu().upload(angles, [2, 4, 2]);
    return ropeBackward(gpu(), rope(gpu(), gpu().upload(x, [2, 24]), turns), turns);
  });
  expectClose(
    got,
    x.map((value) => 1.25 ** 2 * value),
    2e-7,
  );
});

test("a NaN spoils its own pair and no other", async () => {
  const dy = values(16, 1);
  dy[3] = NaN;
  const got = await runOp(gpu(), () =>
    ropeBackward(gpu(), gpu().upload(dy, [2, 8]), gpu().upload(ropeAngles([1, 2], 8, 100), [2, 4, 2])),
  );
  expect([...got.keys()].filter((i) => Number.isNaN(got[i]))).toEqual([3, 7]);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  await refused(
    () => ropeBackward(gpu(), gpu().empty([3, 96]), gpu().empty([3, 32, 2])),
    "ropeBackward: x must have whole heads of 64 columns, got 96",
  );
  await refused(
    () => ropeBackward(gpu(), gpu().empty([1, 128], "u32"), gpu().empty([1, 64, 2])),
    "ropeBackward: x must be f32, got u32",
  );
});
