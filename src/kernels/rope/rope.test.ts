import { type Complex, complex, exp, multiply } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { rope, ropeAngles } from "./rope.js";
import { ropeRef } from "./rope.ref.js";

// Rows against f64: head widths and counts of the real models and odd ones, pairs around the
// workgroup of 64, positions up to 40,959 (where an angle computed in f32 would be off by 2e-3),
// past 65,535 rows; then the refusals.
const gpu = useGpu();
const bound = 1e-7; // a rounded cosine and sine, two products and a sum, 3e-8 each

async function run(
  x: Float32Array,
  positions: number[],
  headDim: number,
  theta: number,
): Promise<Float32Array> {
  const rows = positions.length;
  return runOp(gpu(), () =>
    rope(
      gpu(),
      gpu().upload(x, [rows, x.length / rows]),
      gpu().upload(ropeAngles(positions, headDim, theta), [rows, headDim / 2, 2]),
    ),
  );
}

test("the reference agrees with complex rotation by mathjs", () => {
  const x = [1, -2, 3, 0.5];
  const got = ropeRef(x, [7], 4, 100);
  for (const [i, angle] of [7, 0.7].entries()) {
    const turned = multiply(complex(x[i], x[i + 2]), exp(complex(0, angle))) as Complex;
    expect(got[i]).toBeCloseTo(turned.re, 14);
    expect(got[i + 2]).toBeCloseTo(turned.im, 14);
  }
});

interface Case {
  heads: number;
  headDim: number;
  theta?: number;
  positions: number[];
}

const to = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("against f64", () => {
  test.each<Case>([
    { heads: 1, headDim: 2, positions: [0] },
    ...[126, 128, 130].map((headDim) => ({ heads: 1, headDim, positions: [5] })),
    { heads: 7, headDim: 34, positions: to(13) },
    { heads: 16, headDim: 128, positions: to(67) },
    { heads: 8, headDim: 128, positions: [40_957, 40_958, 40_959, 32_767, 0, 1] },
    { heads: 2, headDim: 64, theta: 10_000, positions: [40_959] },
    { heads: 1, headDim: 4, positions: to(65_537) },
  ])("$heads heads of $headDim", async ({ heads, headDim, theta = 1e6, positions }) => {
    const x = values(positions.length * heads * headDim, 1);
    expectClose(await run(x, positions, headDim, theta), ropeRef(x, positions, headDim, theta), bound);
  });
});

test("position 0 changes nothing", async () => {
  const x = values(256, 1, 1000);
  expect(await run(x, [0], 128, 1e6)).toEqual(x);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  await refused(
    () => rope(gpu(), gpu().empty([3, 96]), gpu().empty([3, 32, 2])),
    "rope: x must have whole heads of 64 columns, got 96",
  );
  await refused(
    () => rope(gpu(), gpu().empty([3, 128]), gpu().empty([2, 48, 2])),
    "rope: angles must be [3, 32, 2], got [2, 48, 2]",
  );
  await refused(
    () => rope(gpu(), gpu().empty([128]), gpu().empty([1, 64, 2])),
    "rope: x must have 2 dimensions, got [128]",
  );
  await refused(
    () => rope(gpu(), gpu().empty([1, 128]), gpu().empty([1, 64, 2], "u32")),
    "rope: angles must be f32, got u32",
  );
});
