import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { copyRowsBackward, takeRowsBackward } from "./copy-rows-backward.js";
import { copyRowsBackwardRef, copyRowsRef } from "./copy-rows.ref.js";

// The reference against central differences; rows against it: the audio rows spliced into a prompt,
// rows that were never copied, rows copied several times, no pair, widths around the workgroup of
// 64, past 65,535 rows and workgroups; then NaN and the refusals.
const gpu = useGpu();

type Pair = readonly [number, number];

const run = (dy: Float32Array, pairs: readonly Pair[], rows: number, width: number): Promise<Float32Array> =>
  runOp(gpu(), () => copyRowsBackward(gpu(), gpu().upload(dy, [dy.length / width, width]), pairs, rows));

const repeated: Pair[] = [[1, 4], [0, 0], [1, 2], [3, 3]]; // prettier-ignore

test("the reference agrees with central differences", () => {
  const [dy, source, into] = [doubles(5 * 3, 1), doubles(4 * 3, 2), doubles(5 * 3, 3)];
  expectClose(
    copyRowsBackwardRef(dy, repeated, 4, 3),
    centralDifferences((at) => dot(dy, copyRowsRef(at, repeated, into, 3)), source),
    differenceBound,
  );
});

describe("rows", () => {
  const shuffled = (rows: number): Pair[] => Array.from({ length: rows }, (_, i) => [i, (i * 7919) % rows]);
  const splice = Array.from({ length: 9 }, (_, i): Pair => [i, 4 + i]);

  test.each<[string, number, number, number, readonly Pair[]]>([
    ["the audio of a prompt", 9, 20, 64, splice],
    ["rows left out and rows copied twice", 4, 5, 7, repeated],
    ["no pair", 3, 5, 4, []],
    ...[1, 63, 64, 65, 131].map((width): [string, number, number, number, readonly Pair[]] => [
      `width ${width}`, 7, 7, width, [[6, 0], [0, 6], [3, 4]],
    ]), // prettier-ignore
    ["65,537 rows", 65_537, 65_537, 3, shuffled(65_537)],
    ["67,586 workgroups", 65_537, 65_537, 66, shuffled(65_537)],
  ])("%s", async (_, rows, targets, width, pairs) => {
    const dy = values(targets * width, 1);
    expectClose(await run(dy, pairs, rows, width), copyRowsBackwardRef(dy, pairs, rows, width), 3e-8);
  });

  test("takeRows: a row taken twice gets both gradients, one left out gets 0", async () => {
    const got = await runOp(gpu(), () =>
      takeRowsBackward(gpu(), gpu().upload(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]), [2, 0, 2], 4),
    );
    expect([...got]).toEqual([3, 4, 0, 0, 6, 8, 0, 0]);
  });
});

test("a NaN spoils its own row and no other", async () => {
  const dy = values(5 * 2, 1);
  dy[9] = NaN; // row 4, copied from row 1
  const got = await run(dy, repeated, 4, 2);
  expect([...got.keys()].filter((i) => Number.isNaN(got[i]))).toEqual([3]);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const g = gpu();
  const copy = (...pairs: Pair[]): unknown => copyRowsBackward(g, g.empty([5, 4]), pairs, 3);
  await refused(() => copy([3, 0]), "copyRowsBackward: pairs must name source rows below 3, got 3");
  await refused(() => copy([0, 5]), "copyRowsBackward: pairs must name target rows below 5, got 5");
  await refused(
    () => copy([0, 1], [1, 1]),
    "copyRowsBackward: pairs must have distinct target rows, got 1 twice",
  );
  await refused(
    () => takeRowsBackward(g, g.empty([5, 4]), [0], 9),
    "takeRowsBackward: dy must have 1 rows, got 5",
  );
  await refused(
    () => copyRowsBackward(g, g.empty([5, 4], "u32"), [], 3),
    "copyRowsBackward: dy must be f32, got u32",
  );
});
