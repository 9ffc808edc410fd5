import { afterEach, describe, expect, test } from "vitest";
import { centralDifferences, differenceBound } from "../../../test/gradients.js";
import { expectClose, keepWeights, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { Tape } from "../../gpu/tape.js";
import { addInto } from "../add/add-into.js";
import { add } from "../add/add.js";
import { linearBackwardRef, linearRef } from "../linear/linear.ref.js";
import { type CrossEntropyOptions, crossEntropy } from "./cross-entropy.js";
import { crossEntropyRef } from "./cross-entropy.ref.js";

// The reference against central differences; losses and the gradient of the hidden states against
// it: vocabularies around the workgroup of 64 and the real one, smoothing, scores far from 0, a
// certain and a hopeless answer; chunks of rows give the bits of one pass and stay within the
// budget; NaN and the refusals. With a row in one workgroup, and shared by many as on GPUs: the same
// bits.
const gpu = useGpu();
const width = 8;

interface Case {
  readonly rows: number;
  readonly vocabulary: number;
  readonly gain?: number;
  readonly options?: CrossEntropyOptions;
}

const labelsOf = ({ rows, vocabulary }: Case): number[] =>
  Array.from({ length: rows }, (_, i) => (i * 7919) % vocabulary);

function data(c: Case): { x: Float32Array; w: Float32Array; labels: number[] } {
  const x = values(c.rows * width, 1).map((value) => value * (c.gain ?? 1));
  return { x, w: values(c.vocabulary * width, 2), labels: labelsOf(c) };
}

/** Losses and the gradient of hidden on the device, and the bytes that were reserved at most. */
async function run(c: Case): Promise<{ losses: Float32Array; gradient: Float32Array; reserved: number }> {
  const { x, w, labels } = data(c);
  const head = keepWeights(gpu(), w, [c.vocabulary, width], "f32");
  const hidden = gpu().keep([c.rows, width], "f32");
  const sum = gpu().keep([c.rows, width], "f32");
  gpu().write(hidden, x as Float32Array<ArrayBuffer>);
  gpu().trim();
  const before = gpu().bytes.reserved;
  let after = 0;
  const [losses, gradient] = await gpu().step(() => {
    const tape = new Tape(gpu(), [{ name: "x", value: hidden, gradient: sum }], { add, addInto });
    gpu().tape = tape;
    const made = crossEntropy(gpu(), hidden, head, labels, c.options);
    gpu().tape = undefined;
    tape.backward();
    after = gpu().bytes.reserved;
    return [made, sum];
  });
  for (const tensor of [hidden, sum]) gpu().free(tensor);
  freeMatrix(gpu(), head);
  return { losses: losses as Float32Array, gradient: gradient as Float32Array, reserved: after - before };
}

test("the reference agrees with central differences", () => {
  const scores = Float64Array.from(values(3 * 7, 1));
  for (const smoothing of [0, 0.1]) {
    const total = (x: Float64Array): number =>
      crossEntropyRef(x, [2, 6, 0], 7, smoothing).losses.reduce((a, b) => a + b, 0);
    const { gradient } = crossEntropyRef(scores, [2, 6, 0], 7, smoothing);
    expectClose(gradient, centralDifferences(total, scores), differenceBound);
  }
});

const shared = { "cross-entropy": { shared: 1 } };
afterEach(() => (gpu().tuning = {}));

test.each<Case>([
  ...[1025, 2048, 5003].map((vocabulary) => ({ rows: 5, vocabulary, options: { labelSmoothing: 0.1 } })),
  { rows: 2, vocabulary: 151_936 },
])("a row that workgroups share has the bits of a row in one: vocabulary $vocabulary", async (c) => {
  const want = await run(c);
  gpu().tuning = shared;
  const before = gpu().counts.dispatches;
  const got = await run(c);
  const four = gpu().counts.dispatches - before;
  expect([got.losses, got.gradient]).toEqual([want.losses, want.gradient]);
  gpu().tuning = {};
  await run(c);
  expect(gpu().counts.dispatches - before - four).toBe(four - 3);
});

describe.each([[{}], [shared]])("against f64, %j", (tuning) => {
  test.each<Case>([
    ...[1, 2, 63, 64, 65, 131, 1024, 1031].map((vocabulary) => ({ rows: 5, vocabulary })),
    { rows: 67, vocabulary: 320, options: { labelSmoothing: 0.1 } },
    { rows: 2, vocabulary: 151_936 },
    { rows: 9, vocabulary: 320, gain: 40 },
    { rows: 9, vocabulary: 320, gain: 1e-3, options: { denominator: 1000 } },
  ])("$rows rows, vocabulary $vocabulary, gain $gain", async (c) => {
    gpu().tuning = tuning;
    const { x, w, labels } = data(c);
    const { labelSmoothing = 0, denominator = c.rows } = c.options ?? {};
    const scores = linearRef(x, w, width);
    const want = crossEntropyRef(scores, labels, c.vocabulary, labelSmoothing);
    const dx = linearBackwardRef(want.gradient, x, w, width).dx.map((value) => value / denominator);
    const got = await run(c);
    const scale = Math.max(1, ...want.losses);
    for (const [i, loss] of want.losses.entries())
      expect(Math.abs(got.losses[i] - loss)).toBeLessThan(4e-7 * scale);
    const bound = c.gain === 40 ? 1.5e-6 : 6e-7; // scores up to 80 are themselves right to 4e-6
    if (c.vocabulary > 1) expectClose(got.gradient, dx, bound);
    else expect(Math.max(...got.gradient.map(Math.abs))).toBeLessThan(1e-7);
  });
});

test.each([[{}], [shared]])(
  "chunks of rows give the bits of one pass, within the budget, %j",
  async (tuning) => {
    gpu().tuning = tuning;
    const c: Case = { rows: 63, vocabulary: 5003 };
    const whole = await run(c);
    const budget = 7 * 4 * 5003 + 5;
    const parts = await run({ ...c, options: { budgetBytes: budget } });
    expect([parts.losses, parts.gradient]).toEqual([whole.losses, whole.gradient]);
    expect(whole.reserved).toBeGreaterThan(63 * 4 * 5003);
    expect(parts.reserved).toBeLessThan(1.25 * budget + 20_000);
    const one = await run({ ...c, options: { budgetBytes: 1 } });
    expect([one.losses, one.gradient]).toEqual([whole.losses, whole.gradient]);
  },
);

test("without a tape there are losses alone", async () => {
  const { x, w, labels } = data({ rows: 5, vocabulary: 131 });
  const head = keepWeights(gpu(), w, [131, width], "f32");
  const [losses] = await gpu().step(() => [crossEntropy(gpu(), gpu().upload(x, [5, width]), head, labels)]);
  freeMatrix(gpu(), head);
  expectClose(losses, crossEntropyRef(linearRef(x, w, width), labels, 131).losses, 4e-7);
});

test.each([
  [70, {}],
  [1100, shared],
])("a NaN spoils its own row, vocabulary %i, %j", async (vocabulary, tuning) => {
  gpu().tuning = tuning;
  const { x, w, labels } = data({ rows: 3, vocabulary });
  x[width] = NaN;
  const head = keepWeights(gpu(), w, [vocabulary, width], "f32");
  const [losses] = await gpu().step(() => [crossEntropy(gpu(), gpu().upload(x, [3, width]), head, labels)]);
  freeMatrix(gpu(), head);
  expect([...losses].map(Number.isNaN)).toEqual([false, true, false]);
});

test("refusals", async () => {
  const head = keepMatrix(gpu(), 10, width, "f32");
  const refused = async (labels: number[], message: string): Promise<void> =>
    expect(gpu().step(() => [crossEntropy(gpu(), gpu().empty([2, width]), head, labels)])).rejects.toThrow(
      new ShapeError(message),
    );
  await refused([1], "crossEntropy: labels must be 2, got 1");
  await refused([1, 10], "crossEntropy: labels must lie below 10, got 10");
  await refused([-1, 3], "crossEntropy: labels must lie below 10, got -1");
  freeMatrix(gpu(), head);
});
