import { max } from "mathjs";
import { beforeAll, describe, expect, test } from "vitest";
import { useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { Timing } from "../../gpu/timing.js";
import { argmax, notANumber } from "./argmax.js";
import { argmaxRef } from "./argmax.ref.js";

// Exact indices: widths around the workgroup of 64 and the real vocabulary, past 65,535 rows; ties
// (lowest index wins), infinities, NaN at every kind of place; then the refusals. With a row in one
// workgroup, and with longer rows in parts of 64 and of 1,024 elements by many.
test("the reference agrees with mathjs", () => {
  const x = [...values(31, 1)];
  expect(argmaxRef(x, 31)).toEqual([x.indexOf(max(x))]);
  expect(argmaxRef([1, 3, 3, 2, NaN, 5], 3)).toEqual([1, notANumber]);
});

describe.each([[0], [64], [1024]])("parts of %i", (part) => {
  const gpu = useGpu({ timestamps: true });
  beforeAll(() => (gpu().tuning = { argmax: { part } }));

  async function run(x: Float32Array, width: number): Promise<number[]> {
    const [y] = await gpu().step(() => [argmax(gpu(), gpu().upload(x, [x.length / width, width]))]);
    return [...y];
  }

  describe("indices", () => {
    test.each([
      [1, 1],
      ...[63, 64, 65, 131, 1024].map((width) => [7, width]),
      [3, 151_936],
      [65_537, 5],
      [700, 6100],
    ])("%i rows of %i", async (rows, width) => {
      const x = values(rows * width, 1);
      expect(await run(x, width)).toEqual(argmaxRef(x, width));
    });

    test.each([[0], [63], [64], [75_000], [151_935]])("the largest at %i of 151,936", async (at) => {
      const x = new Float32Array(151_936).fill(-1187);
      x[at] = -1186.9999;
      expect(await run(x, x.length)).toEqual([at]);
    });
  });

  describe("ties: the lowest index", () => {
    test("a row of equal values", async () => {
      expect(await run(new Float32Array(200).fill(1000), 200)).toEqual([0]);
    });

    test.each([
      [[70, 6]], // another thread
      [[3, 67]], // the same thread, later
      [[64, 63]], // a lower thread has the higher index
      [[199, 128, 65]],
      [[128, 191]], // the first and the last of a part
    ])("largest at %j", async (places) => {
      const x = values(200, 1);
      for (const at of places) x[at] = 2;
      expect(await run(x, 200)).toEqual([Math.min(...places)]);
    });
  });

  describe("a row of 2,500, in parts or not", () => {
    const width = 2500;

    test.each([[[2499, 1024]], [[1024, 1023]], [[1500, 1030]], [[64, 63]], [[2048, 0]]])(
      "ties at %j: the lowest index",
      async (places) => {
        const x = values(width, 1);
        for (const at of places) x[at] = 2;
        expect(await run(x, width)).toEqual([Math.min(...places)]);
      },
    );

    test.each([[0], [1023], [1024], [2499]])("a NaN at %i", async (at) => {
      const x = values(2 * width, 1);
      x[at] = NaN;
      expect(await run(x, width)).toEqual(argmaxRef(x, width));
    });

    test("nothing but -Infinity", async () => {
      expect(await run(new Float32Array(width).fill(-Infinity), width)).toEqual([0]);
    });
  });

  describe("numbers that are none", () => {
    test("a row of -Infinity gives 0, a row with one finite value that one", async () => {
      const x = new Float32Array(2 * 131).fill(-Infinity);
      x[131 + 99] = -3e38;
      expect(await run(x, 131)).toEqual([0, 99]);
    });

    test("Infinity is the largest", async () => {
      const x = values(131, 1);
      x[77] = Infinity;
      expect(await run(x, 131)).toEqual([77]);
    });

    test.each([[0], [5], [63], [64], [130]])(
      "a NaN at %i gives notANumber, and other rows stay",
      async (at) => {
        const x = values(3 * 131, 1);
        x[131 + at] = NaN;
        const want = argmaxRef(x, 131);
        expect(want[1]).toBe(notANumber);
        expect(await run(x, 131)).toEqual(want);
      },
    );

    test("a NaN with its sign bit set, and a row of nothing else", async () => {
      const x = new Float32Array(new Uint32Array(70).fill(0xffc00000).buffer);
      expect(await run(x, 70)).toEqual([notANumber]);
    });
  });

  test("refusals", async () => {
    const step = (op: () => unknown): Promise<unknown> => gpu().step(() => (op(), []));
    await expect(step(() => argmax(gpu(), gpu().empty([5])))).rejects.toThrow(
      new ShapeError("argmax: x must have 2 dimensions, got [5]"),
    );
    await expect(step(() => argmax(gpu(), gpu().empty([5, 2], "u32")))).rejects.toThrow(
      new ShapeError("argmax: x must be f32, got u32"),
    );
  });

  test("a long row takes the workgroups that its parts ask for", async () => {
    const timing = (gpu().timing = new Timing(gpu().device));
    await run(values(2 * 4000, 1), 4000);
    gpu().timing = undefined;
    const { dispatches } = await timing.collect();
    const parts = Math.ceil(4000 / (part || 4000));
    const want = part
      ? [
          ["argmax/argmax-part", 2 * parts],
          ["argmax/argmax-join", 2],
        ]
      : [["argmax/argmax", 2]];
    expect(dispatches.map(({ kernel, dispatch }) => [kernel.name, dispatch.groups])).toEqual(want);
  });
});
