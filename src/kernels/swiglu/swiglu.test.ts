import { evaluate } from "mathjs";
import { expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { swiglu } from "./swiglu.js";
import { swigluRef } from "./swiglu.ref.js";

// Every element against f64, for counts around the workgroup of 64 and its 512 elements, and four
// million, for gates from -20 to 20; the accuracy of the kernel's exp where the built-in one fails;
// then the refusals.
const gpu = useGpu();
const bound = 1e-7; // exp (4.5e-8 RMS), the sum, the quotient and the product (2.5e-8 each): 6.3e-8

async function run(gate: Float32Array, up: Float32Array): Promise<Float32Array> {
  const shape = [gate.length];
  return runOp(gpu(), () => swiglu(gpu(), gpu().upload(gate, shape), gpu().upload(up, shape)));
}

test("the reference agrees with mathjs", () => {
  const want = evaluate("[g / (1 + e^(-g)) * u]", { g: -1.5, u: 0.75 }) as { get(at: number[]): number };
  expect(swigluRef([-1.5], [0.75])[0]).toBeCloseTo(want.get([0]), 14);
});

test.each([[1], [63], [64], [65], [511], [512], [513], [997], [3072 * 7], [65_535 * 64 + 1]])(
  "%i elements",
  async (count) => {
    const gate = values(count, 1).map((value) => 20 * value);
    const up = values(count, 2);
    expectClose(await run(gate, up), swigluRef(gate, up), bound);
  },
);

// The driver's exp is off by 1e-6 here (lavapipe and SwiftShader alike); silu(g) = g exp(g) for
// these g.
test("no element of the far negative side is off by more than 2.5e-7", async () => {
  const gate = Float32Array.from({ length: 50_000 }, (_, i) => -80 + i / 1000);
  const up = new Float32Array(gate.length).fill(1);
  const got = await run(gate, up);
  const errors = [...swigluRef(gate, up)].map((want, i) => Math.abs(got[i] / want - 1));
  expect(errors.reduce((a, b) => (b <= a ? a : b), 0)).toBeLessThan(2.5e-7); // measured 2.1e-7
});

test("the ends of the range: no overflow, a NaN stays", async () => {
  const gate = Float32Array.of(-3e38, -1000, -100, 0, 100, 1000, NaN);
  const got = await run(gate, new Float32Array(gate.length).fill(1));
  expect([...got].map(Math.abs)).toEqual([0, 0, 0, 0, 100, 1000, NaN]);
});

test("refusals", async () => {
  const step = (op: () => unknown): Promise<unknown> => gpu().step(() => (op(), []));
  await expect(step(() => swiglu(gpu(), gpu().empty([2, 3]), gpu().empty([6])))).rejects.toThrow(
    new ShapeError("swiglu: up must be [2, 3], got [6]"),
  );
  await expect(step(() => swiglu(gpu(), gpu().empty([2], "u32"), gpu().empty([2])))).rejects.toThrow(
    new ShapeError("swiglu: gate must be f32, got u32"),
  );
});
