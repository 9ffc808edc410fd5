import { describe, expect, test } from "vitest";
import { useGpu, values } from "../../test/gpu.js";
import { addInto } from "../kernels/add/add-into.js";
import { add } from "../kernels/add/add.js";
import { scale } from "../kernels/scale/scale.js";
import { crossEntropy } from "../kernels/cross-entropy/cross-entropy.js";
import { embedding } from "../kernels/embedding/embedding.js";
import { layerNorm } from "../kernels/layer-norm/layer-norm.js";
import { linear, linearSwiglu } from "../kernels/linear/linear.js";
import { positions } from "../kernels/positions/positions.js";
import { rmsNorm } from "../kernels/rms-norm/rms-norm.js";
import { qkNormRope } from "../kernels/qk-norm-rope/qk-norm-rope.js";
import { swiglu, swigluJoined } from "../kernels/swiglu/swiglu.js";
import { ShapeError } from "./errors.js";
import type { Matrix } from "./matrix.js";
import { makeSegments } from "../kernels/attention/segments.js";
import { type GradientSums, Tape, type Trainable } from "./tape.js";
import type { Tensor } from "./tensor.js";

// What the tape records, what it does not and what it refuses; gradients of a tensor that is used
// twice, or that two sums share; saved tensors outlive their scopes and come back; memory after a
// pass, after one that throws, after one that never ran backwards.
const gpu = useGpu();

function trainable(...shape: number[]): Trainable {
  const value = gpu().keep(shape, "f32");
  gpu().write(value, values(value.bytes / 4, 1) as Float32Array<ArrayBuffer>);
  return { name: "x", value, gradient: gpu().keep(shape, "f32") };
}

function drop({ value, gradient }: Trainable): void {
  gpu().free(value);
  gpu().free(gradient);
}

/** A tensor as a weight matrix of one piece. */
function matrixOf(tensor: Tensor): Matrix {
  const [rows, columns] = tensor.shape;
  return { rows, columns, format: "f32", pieces: [{ first: 0, rows, tensor }] };
}

function frozen(shape: readonly number[]): Matrix {
  return matrixOf(gpu().empty(shape));
}

/**
 * Records `body` over a trained tensor, sets the gradient of its result to ones, runs backwards;
 * the gradient.
 */
async function pass(
  body: (x: Tensor, tape: Tape) => Tensor,
  { shape = [100], sums = { add, addInto } }: { shape?: number[]; sums?: GradientSums } = {},
): Promise<Float32Array> {
  const x = trainable(...shape);
  const [gradient] = await gpu().step(() => {
    const tape = new Tape(gpu(), [x], sums);
    gpu().tape = tape;
    const y = body(x.value, tape);
    gpu().tape = undefined;
    tape.add(y, gpu().upload(new Float32Array(y.bytes / 4).fill(1), y.shape));
    tape.backward();
    return [x.gradient];
  });
  drop(x);
  expect(gpu().bytes).toMatchObject({ kept: 0, live: 0 });
  return gradient as Float32Array;
}

describe("gradients", () => {
  test("of sums: x used twice, through one op and through several, shared by two inputs", async () => {
    expect(new Set(await pass((x) => add(gpu(), x, x)))).toEqual(new Set([2]));
    const chained = await pass((x) => {
      const a = add(gpu(), x, x); // 2
      const b = add(gpu(), a, scale(gpu(), a, 3)); // 8
      return add(gpu(), add(gpu(), b, a), x); // 11
    });
    expect(new Set(chained)).toEqual(new Set([11]));
  });

  test("add up over passes until they are cleared", async () => {
    const x = trainable(10);
    const record = (): Tensor[] => {
      const tape = new Tape(gpu(), [x], { add, addInto });
      gpu().tape = tape;
      const y = scale(gpu(), x.value, 2);
      gpu().tape = undefined;
      tape.add(y, gpu().upload(new Float32Array(10).fill(1), [10]));
      tape.backward();
      return [x.gradient];
    };
    await gpu().step(record);
    expect((await gpu().step(record))[0][3]).toBe(4);
    const [cleared] = await gpu().step(() => {
      gpu().clear(x.gradient);
      return record();
    });
    expect(cleared[3]).toBe(2);
    drop(x);
  });

  const weights = (...shape: number[]): Tensor => gpu().upload(values(shape[0] * (shape[1] ?? 1), 9), shape);
  test.each<[string, (x: Tensor) => Tensor]>([
    ["linear", (x) => linear(gpu(), x, matrixOf(weights(8, 8)))],
    ["linear whose weight is not transposed", (x) => linear(gpu(), x, matrixOf(weights(12, 8)))],
    ["rmsNorm", (x) => rmsNorm(gpu(), x, weights(8))],
    ["layerNorm", (x) => layerNorm(gpu(), x, weights(8), weights(8))],
  ])("%s adds an earlier one to its own: the bits of the sum", async (_, op) => {
    const alone = await pass((x) => op(scale(gpu(), x, 1)), { shape: [6, 8] });
    let added = 0;
    const counted = (...args: Parameters<typeof add>): Tensor => (added++, add(...args));
    const both = await pass(
      (x, tape) => {
        const h = scale(gpu(), x, 1);
        const y = op(h);
        tape.add(h, gpu().upload(values(48, 5), [6, 8]));
        return y;
      },
      { shape: [6, 8], sums: { add: counted, addInto } },
    );
    const earlier = values(48, 5);
    expect(both).toEqual(alone.map((value, i) => Math.fround(value + earlier[i])));
    expect(added).toBe(0);
  });

  test("an op whose result nothing used has none to pass on", async () => {
    const got = await pass((x) => {
      scale(gpu(), x, 5);
      return scale(gpu(), x, 2);
    });
    expect(new Set(got)).toEqual(new Set([2]));
  });
});

describe("what is recorded", () => {
  test("ops on what is trained, not on what is frozen", async () => {
    await pass((x, tape) => {
      const frozen = gpu().upload(values(100, 2), [100]);
      swiglu(gpu(), frozen, add(gpu(), frozen, frozen));
      expect(tape.length).toBe(0);
      const y = add(gpu(), frozen, x);
      expect(tape.length).toBe(1);
      expect([frozen, x, y].map((tensor) => tape.wants(tensor))).toEqual([false, true, true]);
      return y;
    });
  });

  test.each<[string, (x: Tensor) => unknown]>([
    ["linearSwiglu", (x) => linearSwiglu(gpu(), x, [frozen([16, 8])])],
    ["swigluJoined", (x) => swigluJoined(gpu(), x)],
    ["embedding", (x) => embedding(gpu(), gpu().empty([1], "u32"), matrixOf(x))],
    ["crossEntropy", (x) => crossEntropy(gpu(), gpu().empty([1, 8]), matrixOf(x), [0])],
    ["positions", (x) => positions(gpu(), x, gpu().empty([4, 8]), 1, makeSegments(gpu(), [4]))],
    [
      "qkNormRope",
      (x) => {
        const part = (...shape: number[]): Tensor => gpu().empty(shape);
        const options = { qNorm: part(2), kNorm: part(2), eps: 0, angles: part(4, 1, 2) };
        const slots = gpu().empty([4, 2], "u32");
        return qkNormRope(gpu(), x, { ...options, slots, keys: part(4, 2), values: part(4, 2) });
      },
    ],
  ])("%s, which no gradient passes, is refused where one would end", async (op, call) => {
    const [value, gradient] = [gpu().keep([4, 8], "f32"), gpu().keep([4, 8], "f32")];
    const run = (trained: boolean): Promise<unknown> =>
      gpu().step(() => {
        gpu().tape = new Tape(gpu(), trained ? [{ name: "x", value, gradient }] : [], { add, addInto });
        try {
          call(value);
        } finally {
          gpu().tape = undefined;
        }
        return [];
      });
    await run(false);
    await expect(run(true)).rejects.toThrow(
      new ShapeError(
        `${op}: expected inputs that nothing trained goes into, got one: no gradient passes this op; load the model with tune`,
      ),
    );
    for (const tensor of [value, gradient]) gpu().free(tensor);
  });

  test("nothing while it runs backwards, and it is empty afterwards", async () => {
    let tape: Tape | undefined;
    await pass((x, made) => {
      tape = made;
      return add(gpu(), swiglu(gpu(), x, x), x);
    });
    expect(tape!.length).toBe(0);
  });
});

describe("memory", () => {
  test("what the tape saved outlives its scope and comes back in reverse", async () => {
    const x = trainable(1000);
    await gpu().step(() => {
      const tape = new Tape(gpu(), [x], { add, addInto });
      gpu().tape = tape;
      const live = (): number => gpu().bytes.live;
      const before = live();
      const y = gpu().scope(() => {
        const [gate, up] = [scale(gpu(), x.value, 2), scale(gpu(), x.value, 3)];
        return scale(gpu(), swiglu(gpu(), gate, up), 1); // gate and up are saved, swiglu's result is not
      });
      expect(live() - before).toBe(3 * y.allocation.bytes);
      gpu().tape = undefined;
      tape.add(y, gpu().upload(new Float32Array(1000).fill(1), [1000]));
      const uploaded = live();
      tape.backward();
      expect(live() - uploaded).toBe(-2 * y.allocation.bytes);
      return [];
    });
    drop(x);
    expect(gpu().bytes.live).toBe(0);
  });

  test("a chain's inputs stay while the tape needs them", async () => {
    const gradient = await pass((x) => {
      const first = scale(gpu(), x, 1);
      return gpu().chain(first, [1, 2, 3], (input) => swiglu(gpu(), input, input));
    });
    expect(gradient.every(Number.isFinite)).toBe(true);
    expect(gradient.some((value) => value !== 0)).toBe(true);
  });

  test("a tape that never ran backwards, and one whose backward throws", async () => {
    const x = trainable(10);
    await gpu().step(() => {
      gpu().tape = new Tape(gpu(), [x], { add, addInto });
      gpu().scope(() => {
        swiglu(gpu(), scale(gpu(), x.value, 2), scale(gpu(), x.value, 2));
      });
      gpu().tape = undefined;
      return [];
    });
    expect(gpu().bytes.live).toBe(0);
    const failed = gpu().step(() => {
      const tape = new Tape(gpu(), [x], { add, addInto });
      gpu().tape = tape;
      const y = gpu().scope(() => scale(gpu(), scale(gpu(), x.value, 2), 2));
      gpu().tape = undefined;
      tape.add(y, gpu().upload(new Float32Array(10), [2, 5]));
      tape.add(y, gpu().upload(new Float32Array(5), [5]));
      return [];
    });
    await expect(failed).rejects.toThrow(
      new ShapeError("tape: the gradient of [10] must have its shape, got [5] f32"),
    );
    expect(gpu().bytes.live).toBe(0);
    drop(x);
  });
});
