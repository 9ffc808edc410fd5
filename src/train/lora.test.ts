import { describe, expect, test } from "vitest";
import { expectClose, keepWeights, useGpu, values } from "../../test/gpu.js";
import { Tape, type Trainable } from "../gpu/tape.js";
import { add } from "../kernels/add/add.js";
import { addInto } from "../kernels/add/add-into.js";
import { projection } from "../kernels/linear/linear.js";
import { linearBackwardRef, linearRef } from "../kernels/linear/linear.ref.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import { paddedRank, withLora } from "./lora.js";
import { makeOptimiser, update } from "./optimiser.js";

// Plan: a LoRA of any rank has the outputs and the gradients of its factors without padding, in
// double precision; the padding is zero from the beginning, has a gradient of exactly 0, and is
// zero after steps of AdamW with decay.
const gpu = useGpu();
const [rows, width, columns, alpha] = [5, 32, 24, 7];

/** f64: y = x wᵀ + s · x aᵀ bᵀ, and the gradients for dy. */
function reference(rank: number, a: ArrayLike<number>, b: ArrayLike<number>): Record<string, Float64Array> {
  const s = alpha / rank;
  const low = linearRef(x, a, width).map((v) => v * s);
  const sum = linearRef(low, b, rank);
  const ofB = linearBackwardRef(dy, low, b, rank);
  const ofA = linearBackwardRef(
    ofB.dx.map((v) => v * s),
    x,
    a,
    width,
  );
  const ofW = linearBackwardRef(dy, x, w, width);
  return {
    y: linearRef(x, w, width).map((v, i) => v + sum[i]),
    dx: ofW.dx.map((v, i) => v + ofA.dx[i]),
    da: ofA.dw,
    db: ofB.dw,
  };
}
const [x, w, dy] = [values(rows * width, 1), values(columns * width, 2), values(rows * columns, 3)];

/** The elements of a padded factor that are the LoRA's, and those that fill it up. */
function split(
  data: Float32Array,
  which: "A" | "B",
  rank: number,
): { own: Float32Array; filler: Float32Array } {
  const padded = paddedRank(rank);
  const isOwn = (_: number, i: number): boolean => (which === "A" ? i < rank * width : i % padded < rank);
  return { own: data.filter(isOwn), filler: data.filter((v, i) => !isOwn(v, i)) };
}

/** A padded factor with these elements, zero elsewhere. */
function padded(own: Float32Array, which: "A" | "B", rank: number): Float32Array<ArrayBuffer> {
  const to = paddedRank(rank);
  const data = new Float32Array((own.length / rank) * to);
  for (const [i, v] of own.entries()) data[which === "A" ? i : Math.floor(i / rank) * to + (i % rank)] = v;
  return data;
}

describe.each([1, 2, 3, 4, 5, 7])("rank %i", (rank) => {
  test("is its factors without padding", async () => {
    const matrix = keepWeights(gpu(), w, [columns, width], "f32");
    const bare = { llm: { layers: [{ oProj: matrix }] }, trainables: [], free: () => undefined };
    const model = withLora(gpu(), bare as unknown as FunAsrNano, { rank, alpha, targets: ["o_proj"] });
    const [a, b] = model.trainables;
    const start = await gpu().step(() => [a.value, b.value]);
    expect(split(start[0] as Float32Array, "A", rank).own.every((v) => v !== 0)).toBe(true);
    expect(split(start[0] as Float32Array, "A", rank).filler.every((v) => v === 0)).toBe(true);
    expect(start[1].every((v) => v === 0)).toBe(true);

    const [ownA, ownB] = [values(rank * width, 4), values(columns * rank, 5)];
    gpu().write(a.value, padded(ownA, "A", rank));
    gpu().write(b.value, padded(ownB, "B", rank));
    const input: Trainable = {
      name: "x",
      value: gpu().keep([rows, width], "f32"),
      gradient: gpu().keep([rows, width], "f32"),
    };
    gpu().write(input.value, Float32Array.from(x));
    const got = await gpu().step(() => {
      const tape = new Tape(gpu(), [input, ...model.trainables], { add, addInto });
      gpu().tape = tape;
      const y = projection(gpu(), input.value, model.llm.layers[0].oProj);
      gpu().tape = undefined;
      tape.add(y, gpu().upload(dy, [rows, columns]));
      tape.backward();
      return [y, input.gradient, a.gradient, b.gradient];
    });
    const [y, dx, da, db] = got as Float32Array[];
    const want = reference(rank, ownA, ownB);
    expectClose(y, want.y, 1e-6);
    expectClose(dx, want.dx, 1e-6);
    expectClose(split(da, "A", rank).own, want.da, 1e-6);
    expectClose(split(db, "B", rank).own, want.db, 1e-6);
    expect([...split(da, "A", rank).filler, ...split(db, "B", rank).filler].every((v) => v === 0)).toBe(true);

    const optimiser = makeOptimiser(gpu(), model.trainables);
    const options = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0.1 };
    for (const step of [1, 2]) {
      if (step > 1) gpu().write(a.gradient, da as Float32Array<ArrayBuffer>);
      await gpu().step(() => [update(gpu(), optimiser, 1, { ...options, step }).clip]);
    }
    const after = (await gpu().step(() => [a.value, b.value])) as Float32Array[];
    expect(split(after[0], "A", rank).own).not.toEqual(ownA);
    const filler = [...split(after[0], "A", rank).filler, ...split(after[1], "B", rank).filler];
    expect(filler.every((v) => v === 0)).toBe(true);
    optimiser.free();
    model.free();
  });
});
