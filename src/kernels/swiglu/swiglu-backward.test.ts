import { expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { swigluBackward } from "./swiglu-backward.js";
import { swigluBackwardRef, swigluRef } from "./swiglu.ref.js";

// The reference against central differences; both gradients against it, for counts around the
// workgroup of 64, its 512 elements and four million, and gates from -20 to 20; the far ends, where
// exp overflows; then NaN and the refusals.
const gpu = useGpu();
const bound = 1.5e-7; // exp (4.5e-8 RMS), the sum, the quotient and three products (2.5e-8 each)

interface Gradients {
  dGate: Float32Array;
  dUp: Float32Array;
}

async function run(dy: Float32Array, gate: Float32Array, up: Float32Array): Promise<Gradients> {
  const g = gpu();
  const shape = [gate.length];
  const [dGate, dUp] = (await g.step(() => {
    const got = swigluBackward(g, g.upload(dy, shape), g.upload(gate, shape), g.upload(up, shape));
    return [got.dGate, got.dUp];
  })) as Float32Array[];
  return { dGate, dUp };
}

test("the reference agrees with central differences", () => {
  const [dy, gate, up] = [doubles(50, 1), doubles(50, 2).map((value) => 8 * value), doubles(50, 3)];
  const { dGate, dUp } = swigluBackwardRef(dy, gate, up);
  expectClose(
    dGate,
    centralDifferences((at) => dot(dy, swigluRef(at, up)), gate),
    differenceBound,
  );
  expectClose(
    dUp,
    centralDifferences((at) => dot(dy, swigluRef(gate, at)), up),
    differenceBound,
  );
});

test.each([[1], [63], [64], [65], [511], [512], [513], [997], [3072 * 7], [65_535 * 64 + 1]])(
  "%i elements",
  async (count) => {
    const [dy, gate, up] = [values(count, 1), values(count, 2).map((value) => 20 * value), values(count, 3)];
    const got = await run(dy, gate, up);
    const want = swigluBackwardRef(dy, gate, up);
    expectClose(got.dGate, want.dGate, bound);
    expectClose(got.dUp, want.dUp, bound);
  },
);

test("the ends of the range: no overflow", async () => {
  const gate = Float32Array.of(-3e38, -1000, -100, 0, 100, 1000, 3e38);
  const ones = new Float32Array(gate.length).fill(1);
  const { dGate, dUp } = await run(ones, gate, ones);
  expect([...dGate].map(Math.abs)).toEqual([0, 0, 0, 0.5, 1, 1, 1]);
  expect([...dUp].map(Math.abs)).toEqual([0, 0, 0, 0, 100, 1000, Math.fround(3e38)]);
});

test("a NaN spoils its own element of the gradients that depend on it", async () => {
  const [dy, gate, up] = [1, 2, 3].map((seed) => values(4, seed));
  [dy[0], gate[1], up[2]] = [NaN, NaN, NaN];
  const { dGate, dUp } = await run(dy, gate, up);
  expect([...dGate].map(Number.isNaN)).toEqual([true, true, true, false]);
  expect([...dUp].map(Number.isNaN)).toEqual([true, true, false, false]);
});

test("refusals", async () => {
  const g = gpu();
  const step = (op: () => unknown): Promise<unknown> => g.step(() => (op(), []));
  await expect(step(() => swigluBackward(g, g.empty([6]), g.empty([2, 3]), g.empty([2, 3])))).rejects.toThrow(
    new ShapeError("swigluBackward: dy must be [2, 3], got [6]"),
  );
  await expect(
    step(() => swigluBackward(g, g.empty([2]), g.empty([2]), g.empty([2], "u32"))),
  ).rejects.toThrow(new ShapeError("swigluBackward: up must be f32, got u32"));
});
