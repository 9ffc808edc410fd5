import { index, matrix, subset } from "mathjs";
import { describe, expect, test } from "vitest";
import { runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { copyRows, takeRows } from "./copy-rows.js";
import { copyRowsRef } from "./copy-rows.ref.js";

// Exact rows: widths around the workgroup of 64 and the real one, no pair, one, a permutation, past
// 65,535 rows and workgroups; rows without a pair stay; a kept target keeps what was written; then
// the refusals.
const gpu = useGpu();

type Pair = readonly [number, number];

async function run(
  source: Float32Array,
  pairs: readonly Pair[],
  into: Float32Array,
  width: number,
): Promise<Float32Array> {
  return runOp(gpu(), () => {
    const target = gpu().upload(into, [into.length / width, width]);
    const table = gpu().upload(new Uint32Array(pairs.flat()), [pairs.length, 2]);
    copyRows(gpu(), gpu().upload(source, [source.length / width, width]), table, target);
    return target;
  });
}

test("the reference agrees with mathjs", () => {
  const into = matrix([[1, 2], [3, 4], [5, 6]]); // prettier-ignore
  const want = subset(into, index(2, [0, 1]), [[7, 8]]);
  expect([...copyRowsRef([9, 9, 7, 8], [[1, 2]], [1, 2, 3, 4, 5, 6], 2)]).toEqual(want.toArray().flat());
});

/** Every row of the source to a row of the target, in another order. */
const shuffled = (rows: number): Pair[] => Array.from({ length: rows }, (_, i) => [i, (i * 7919) % rows]);

describe("rows", () => {
  test.each<[number, number, Pair[]]>([
    ...[1, 63, 64, 65, 131, 560].map((width): [number, number, Pair[]] => [width, 7, [[6, 0], [0, 6], [3, 4]]]), // prettier-ignore
    [1024, 1, [[0, 0]]],
    [3, 65_537, shuffled(65_537)],
    [66, 65_537, shuffled(65_537)], // 67,586 workgroups
  ])("width %i, %i rows", async (width, rows, pairs) => {
    const source = values(rows * width, 1);
    const into = values(rows * width, 2);
    const got = await run(source, pairs, into, width);
    const want = copyRowsRef(source, pairs, into, width);
    expect(got.length).toBe(want.length);
    expect(got.findIndex((value, i) => value !== want[i])).toBe(-1);
  });

  test("no pair: nothing changes", async () => {
    const into = values(12, 2);
    expect(await run(values(8, 1), [], into, 4)).toEqual(into);
  });

  test("takeRows picks rows in the given order, a row twice as well", async () => {
    const x = values(5 * 3, 1);
    const got = await runOp(gpu(), () => takeRows(gpu(), gpu().upload(x, [5, 3]), [4, 0, 4]));
    expect([...got]).toEqual([...x.slice(12), ...x.slice(0, 3), ...x.slice(12)]);
  });

  test("a kept tensor holds its rows over steps", async () => {
    const cache = gpu().keep([4, 2], "f32");
    for (const [row, value] of [
      [1, 5],
      [3, 7],
    ]) {
      // prettier-ignore
      await gpu().step(() => {
        const source = gpu().upload(Float32Array.of(value, value), [1, 2]);
        copyRows(gpu(), source, gpu().upload(Uint32Array.of(0, row), [1, 2]), cache);
        return [];
      });
    }
    expect([...(await runOp(gpu(), () => cache))]).toEqual([0, 0, 5, 5, 0, 0, 7, 7]);
    gpu().free(cache);
  });
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const g = gpu();
  await refused(
    () => copyRows(g, g.empty([2, 4]), g.empty([1, 2], "u32"), g.empty([2, 5])),
    "copyRows: into must be [2, 4], got [2, 5]",
  );
  await refused(
    () => copyRows(g, g.empty([2, 4]), g.empty([1, 3], "u32"), g.empty([2, 4])),
    "copyRows: pairs must be [1, 2], got [1, 3]",
  );
  await refused(
    () => copyRows(g, g.empty([2, 4]), g.empty([1, 2]), g.empty([2, 4])),
    "copyRows: pairs must be u32, got f32",
  );
  await refused(
    () => copyRows(g, g.empty([2, 4], "u32"), g.empty([1, 2], "u32"), g.empty([2, 4])),
    "copyRows: source must be f32, got u32",
  );
  await refused(() => takeRows(g, g.empty([4]), [0]), "takeRows: x must have 2 dimensions, got [4]");
});
