import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { softmax } from "./softmax.js";
import { softmaxRef } from "./softmax.ref.js";

// Rows against f64: widths around the block of 16 and the real one, rows around the workgroup of 64
// and past 65,535, some columns kept and all; an offset of 1000, an all-equal row;
// a row that is far below its maximum, NaN, infinities; the refusals.
const gpu = useGpu();
const bound = 4e-7; // two exponentials, a sum of up to 248 terms in blocks of 16, a division

async function run(x: Float32Array, width: number, kept?: number): Promise<Float32Array> {
  return runOp(gpu(), () => softmax(gpu(), gpu().upload(x, [x.length / width, width]), kept));
}

test("the reference: rows add up to 1, and two equal logits share", () => {
  const got = softmaxRef([0, Math.log(3), 5, 5], 2);
  for (const [i, want] of [0.25, 0.75, 0.5, 0.5].entries()) expect(got[i]).toBeCloseTo(want, 15);
});

interface Case {
  rows: number;
  width: number;
  kept: number;
  offset?: number;
}

describe("against f64", () => {
  test.each<Case>([
    ...[1, 15, 16, 17, 131, 248].map((width) => ({ rows: 5, width, kept: width })),
    ...[1, 63, 64, 65, 131].map((rows) => ({ rows, width: 248, kept: 1 })),
    { rows: 7, width: 248, kept: 3, offset: 1000 },
    { rows: 70_001, width: 3, kept: 1 },
  ])("$rows rows of $width, $kept kept, offset $offset", async ({ rows, width, kept, offset }) => {
    const x = values(rows * width, 1, offset).map((value) => 8 * value);
    expectClose(await run(x, width, kept), softmaxRef(x, width, kept), bound);
  });

  test("a row of equal values", async () => {
    expectClose(await run(new Float32Array(248).fill(1000), 248), new Float64Array(248).fill(1 / 248), bound);
  });
});

test("what is far below the maximum is 0, infinity above gives NaN, a NaN stays in its row", async () => {
  const got = await run(Float32Array.of(-200, 0, Infinity, 0, NaN, 0, 1, 1, -Infinity, 0), 2);
  expect([...got]).toEqual([0, 1, NaN, NaN, NaN, NaN, 0.5, 0.5, 0, 1]);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const x = (): ReturnType<ReturnType<typeof gpu>["empty"]> => gpu().empty([6, 8]);
  await refused(() => softmax(gpu(), gpu().empty([8])), "softmax: x must have 2 dimensions, got [8]");
  for (const kept of [0, 9, 1.5])
    await refused(() => softmax(gpu(), x(), kept), `softmax: kept must be from 1 to 8, got ${kept}`);
});
