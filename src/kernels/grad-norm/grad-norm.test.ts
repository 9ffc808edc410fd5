import { norm as mathNorm } from "mathjs";
import { expect, test } from "vitest";
import { useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { gradNorm } from "./grad-norm.js";
import { gradNormRef } from "./grad-norm.ref.js";

// Sums of squares, norm and factor against f64 for lengths around the chunk of 4,096, for more
// tensors than threads, with clipping off, above and below the norm; what is not finite; equal bits
// in two runs; the refusals.
const gpu = useGpu();
const bound = 1e-6; // relative; 64 strided terms, 64 parts, then the chunks: measured below 3e-7

async function run(
  tensors: readonly Float32Array[],
  maxNorm: number,
): Promise<{ squares: Float32Array; norm: number; coefficient: number }> {
  const [squares, clip] = await gpu().step(() => {
    const result = gradNorm(
      gpu(),
      tensors.map((t) => gpu().upload(t, [t.length])),
      maxNorm,
    );
    return [result.squares, result.clip];
  });
  return { squares: squares as Float32Array, norm: clip[0], coefficient: clip[1] };
}

const near = (got: number, want: number): void =>
  expect(Math.abs(got - want)).toBeLessThanOrEqual(bound * Math.abs(want));

test("the reference agrees with mathjs", () => {
  const { norm, coefficient } = gradNormRef([[3, 4], [12]], 6.5);
  expect(norm).toBe(mathNorm([3, 4, 12]));
  expect(coefficient).toBeCloseTo(0.5, 7);
});

test.each([
  ["one element", [1]],
  ["around a chunk", [4095, 4096, 4097]],
  ["primes", [997, 65_537, 7]],
  ["more tensors than threads", Array.from({ length: 131 }, (_, i) => i + 1)],
  ["301 chunks", [4096 * 300 + 1]],
])("%s", async (_, counts) => {
  const tensors = counts.map((count, i) => values(count, i + 1));
  for (const maxNorm of [0, 0.01, 1e6]) {
    const want = gradNormRef(tensors, maxNorm);
    const got = await run(tensors, maxNorm);
    for (const [i, square] of want.squares.entries()) near(got.squares[i], square);
    near(got.norm, want.norm);
    near(got.coefficient, want.coefficient);
  }
});

test.each([NaN, Infinity, -Infinity])(
  "%f in one tensor: it is reported, and the factor is -1",
  async (bad) => {
    const tensors = [values(5000, 1), values(5000, 2), values(5000, 3)];
    tensors[1][4999] = bad;
    const { squares, norm, coefficient } = await run(tensors, 1);
    expect([...squares].map(Number.isFinite)).toEqual([true, false, true]);
    expect(Number.isFinite(norm)).toBe(false);
    expect(coefficient).toBe(-1);
  },
);

test("all zero", async () => {
  expect(await run([new Float32Array(9)], 1)).toMatchObject({ norm: 0, coefficient: 1 });
});

test("two runs have equal bits", async () => {
  const tensors = [values(100_003, 1), values(77, 2)];
  expect(await run(tensors, 1)).toEqual(await run(tensors, 1));
});

test("refusals", async () => {
  const step = (op: () => unknown): Promise<unknown> => gpu().step(() => (op(), []));
  await expect(step(() => gradNorm(gpu(), [], 1))).rejects.toThrow(
    new ShapeError("gradNorm: gradients must hold at least 1 tensor, got 0"),
  );
  await expect(step(() => gradNorm(gpu(), [gpu().empty([2], "u32")], 1))).rejects.toThrow(
    new ShapeError("gradNorm: gradient must be f32, got u32"),
  );
});
