import { add as mathAdd } from "mathjs";
import { expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { add } from "./add.js";
import { addRef } from "./add.ref.js";

// Every element of the sum against f64, for counts around the workgroup of 64 and its 512 elements,
// and four million; then the refusals.
const gpu = useGpu();
const bound = 6e-8; // one rounding of f32: 2^-24

test("the reference agrees with mathjs", () => {
  expect([...addRef([1, 2.5, -3], [0.5, 0.25, 3])]).toEqual(mathAdd([1, 2.5, -3], [0.5, 0.25, 3]));
});

test.each([[1], [63], [64], [65], [511], [512], [513], [997], [512 * 100], [65_535 * 64 + 1]])(
  "%i elements",
  async (count) => {
    const a = values(count, 1);
    const b = values(count, 2, 1000);
    const got = await runOp(gpu(), () => add(gpu(), gpu().upload(a, [count]), gpu().upload(b, [count])));
    expectClose(got, addRef(a, b), bound);
  },
);

test("a NaN stays, an infinity stays", async () => {
  const a = Float32Array.of(NaN, Infinity, 1);
  const b = Float32Array.of(1, 1, -Infinity);
  const got = await runOp(gpu(), () => add(gpu(), gpu().upload(a, [3]), gpu().upload(b, [3])));
  expect([...got]).toEqual([NaN, Infinity, -Infinity]);
});

test("refusals", async () => {
  const step = (op: () => unknown): Promise<unknown> => gpu().step(() => (op(), []));
  await expect(step(() => add(gpu(), gpu().empty([2, 3]), gpu().empty([3, 2])))).rejects.toThrow(
    new ShapeError("add: b must be [2, 3], got [3, 2]"),
  );
  await expect(step(() => add(gpu(), gpu().empty([2]), gpu().empty([2], "u32")))).rejects.toThrow(
    new ShapeError("add: b must be f32, got u32"),
  );
});
