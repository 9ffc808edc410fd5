import { expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { reluBackward } from "./relu-backward.js";
import { reluBackwardRef } from "./relu-backward.ref.js";

// The reference against central differences; the gradient against it bit for bit, for counts around
// the workgroup of 64 and past 65,535 workgroups, zeros of both signs; NaN and the refusals.
const gpu = useGpu();

const relu = (x: ArrayLike<number>): Float64Array => Float64Array.from(x, (value) => Math.max(value, 0));

const run = (dy: Float32Array, y: Float32Array): Promise<Float32Array> =>
  runOp(gpu(), () => reluBackward(gpu(), gpu().upload(dy, [dy.length]), gpu().upload(y, [y.length])));

test("the reference agrees with central differences", () => {
  const [dy, x] = [doubles(50, 1), doubles(50, 2)];
  expectClose(
    reluBackwardRef(dy, relu(x)),
    centralDifferences((at) => dot(dy, relu(at)), x),
    differenceBound,
  );
});

test.each([[1], [63], [64], [65], [997], [65_535 * 64 + 1]])("%i elements", async (count) => {
  const [dy, y] = [values(count, 1), values(count, 2).map((value) => Math.max(value, 0))];
  const got = await run(dy, y);
  const want = reluBackwardRef(dy, y);
  expect(got.findIndex((value, i) => value !== want[i])).toBe(-1);
});

test("zeros let nothing through, a NaN in y lets dy through, a NaN in dy stays where y is positive", async () => {
  const got = await run(Float32Array.of(5, 5, 5, NaN, NaN), Float32Array.of(0, -0, NaN, 1, 0));
  expect([...got]).toEqual([0, 0, 5, NaN, 0]);
});

test("refusals", async () => {
  const g = gpu();
  const step = (op: () => unknown): Promise<unknown> => g.step(() => (op(), []));
  await expect(step(() => reluBackward(g, g.empty([2, 3]), g.empty([3, 2])))).rejects.toThrow(
    new ShapeError("reluBackward: y must be [2, 3], got [3, 2]"),
  );
  await expect(step(() => reluBackward(g, g.empty([2], "u32"), g.empty([2])))).rejects.toThrow(
    new ShapeError("reluBackward: dy must be f32, got u32"),
  );
});
