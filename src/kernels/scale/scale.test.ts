import { describe, expect, test } from "vitest";
import { runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { Tape } from "../../gpu/tape.js";
import { addInto } from "../add/add-into.js";
import { add } from "../add/add.js";
import { dropout, scale } from "./scale.js";
import { scaleRef } from "./scale.ref.js";

// Scaling and dropout against the reference, exact: sizes around the workgroup of 64 and past
// 65,535 workgroups, the share that is dropped, other seeds, the gradient that passes the same
// elements; NaN and the refusal.
const gpu = useGpu();

describe("against the reference", () => {
  test.each([1, 63, 64, 65, 131, 65_536 * 64 + 3])("%i values", async (count) => {
    const x = values(count, 1);
    const run = (op: "scale" | "dropout"): Promise<Float32Array> =>
      runOp(gpu(), () => {
        const tensor = gpu().upload(x, [count]);
        return op === "scale" ? scale(gpu(), tensor, 0.75) : dropout(gpu(), tensor, 0.25, 4_000_000_007);
      });
    const wrong = (got: Float32Array, want: Float64Array): number =>
      want.reduce((sum, value, i) => sum + (got[i] === Math.fround(value) ? 0 : 1), 0);
    if (count < 1e6) expect(wrong(await run("scale"), scaleRef(x, 0.75))).toBe(0);
    expect(wrong(await run("dropout"), scaleRef(x, Math.fround(1 / 0.75), 0.25, 4_000_000_007))).toBe(0);
  });
});

test.each([0, 0.1, 0.9])("a share of %f is dropped, others by another seed", async (probability) => {
  const ones = new Float32Array(40_000).fill(1);
  const run = (seed: number): Promise<Float32Array> =>
    runOp(gpu(), () => dropout(gpu(), gpu().upload(ones, [40_000]), probability, seed));
  const [first, again, other] = [await run(1), await run(1), await run(2)];
  expect(again).toEqual(first);
  expect(Math.abs(first.filter((v) => v === 0).length / 40_000 - probability)).toBeLessThan(0.01);
  if (probability > 0) expect(other).not.toEqual(first);
});

test("the gradient passes the elements that were kept", async () => {
  const value = gpu().keep([500], "f32");
  const gradient = gpu().keep([500], "f32");
  gpu().write(value, new Float32Array(500).fill(1));
  const [y, got] = await gpu().step(() => {
    const tape = new Tape(gpu(), [{ name: "x", value, gradient }], { add, addInto });
    gpu().tape = tape;
    const out = dropout(gpu(), value, 0.5, 3);
    gpu().tape = undefined;
    tape.add(out, gpu().upload(new Float32Array(500).fill(1), [500]));
    tape.backward();
    return [out, gradient];
  });
  expect(got).toEqual(y);
  for (const tensor of [value, gradient]) gpu().free(tensor);
});

test("a NaN that is kept stays", async () => {
  const got = await runOp(gpu(), () => scale(gpu(), gpu().upload(Float32Array.of(NaN, 1), [2]), 2));
  expect([...got]).toEqual([NaN, 2]);
});

test.each([1, -0.1, NaN])("a probability of %f is refused", async (probability) => {
  const failed = gpu().step(() => [dropout(gpu(), gpu().empty([4]), probability, 0)]);
  const message = `dropout: probability must be from 0 up to 1, got ${probability}`;
  await expect(failed).rejects.toThrow(new ShapeError(message));
});
