import { multiply, transpose } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { fromFloat32, toFloat32 } from "../../formats/dtypes.js";
import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { type LinearOptions, linear } from "./linear.js";
import { linearRef } from "./linear.ref.js";

// In both kernel families, the product against f64: rows on both sides of every tile's border,
// columns around a workgroup, widths around blocks and groups of 256 and the real ones, every
// storage type, bias and activation; weights in pieces; past 65,535 rows and workgroups. Then that
// a row's bits do not depend on the rows beside it, and the refusals.
const bound = 2e-7; // 1.4e-7 at K = 4096; plain blocks of 16 gave 3.4e-7 there, one long sum 1.2e-6

type DType = "f32" | "bf16" | "f16";
type Activation = NonNullable<LinearOptions["activation"]>;

interface Case {
  rows: number;
  columns: number;
  width: number;
  dtype?: DType;
  bias?: boolean;
  activation?: Activation;
}

/** What the weights are after storage. */
function rounded(data: Float32Array, dtype: DType): Float32Array {
  const name = dtype.toUpperCase() as "F32" | "BF16" | "F16";
  return toFloat32(fromFloat32(data, name), name);
}

/** The product on the device and in f64. */
async function product(device: Gpu, c: Case): Promise<{ got: Float32Array; want: Float64Array }> {
  const { rows, columns, width, dtype = "f32", activation = "none" } = c;
  const x = values(rows * width, 1);
  const data = values(columns * width, 2);
  const bias = c.bias ? values(columns, 3) : undefined;
  const w = keepWeights(device, data, [columns, width], dtype);
  const got = await runOp(device, () =>
    linear(device, device.upload(x, [rows, width]), w, {
      bias: bias && device.upload(bias, [columns]),
      activation,
    }),
  );
  freeMatrix(device, w);
  return { got, want: linearRef(x, rounded(data, dtype), width, bias, activation) };
}

test("the reference agrees with mathjs", () => {
  const x = [
    [1, -2, 3],
    [0.5, 4, -1],
  ];
  const w = [
    [2, 0, 1],
    [-1, 3, 0.25],
  ];
  const want = multiply(x, transpose(w)).map((row) => [row[0] + 10, row[1] - 10]);
  expect([...linearRef(x.flat(), w.flat(), 3, [10, -10])]).toEqual(want.flat());
  expect([...linearRef([1], [-2], 1, undefined, "relu")]).toEqual([0]);
});

describe.each([[true], [false]])("subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });

  describe("against f64", () => {
    test.each<Case>([
      ...[1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 40, 67].map((rows) => ({ rows, columns: 37, width: 560 })),
      ...[1, 3, 4, 5, 127, 128, 129, 131].flatMap((columns) => [
        { rows: 1, columns, width: 8 },
        { rows: 5, columns, width: 8 },
      ]),
      ...[4, 12, 16, 20, 252, 256, 260, 512, 1024, 4096].flatMap((width) => [
        { rows: 2, columns: 40, width },
        { rows: 6, columns: 40, width },
      ]),
      { rows: 1, columns: 3072, width: 1024, dtype: "bf16" },
      { rows: 65_537, columns: 3, width: 4 },
    ])("$rows rows, $columns columns, width $width", async (c) => {
      const { got, want } = await product(gpu(), c);
      expectClose(got, want, bound);
    });

    const kinds: Case[] = [];
    for (const dtype of ["f32", "bf16", "f16"] as const) {
      for (const activation of ["none", "relu"] as const) {
        for (const bias of [false, true]) {
          kinds.push({ rows: 2, columns: 29, width: 132, dtype, activation, bias });
          if (bias === (activation === "relu"))
            kinds.push({ rows: 6, columns: 29, width: 132, dtype, activation, bias });
        }
      }
    }
    test.each(kinds)("$dtype, $activation, bias $bias, $rows rows", async (c) => {
      const { got, want } = await product(gpu(), c);
      expectClose(got, want, bound);
    });
  });

  test("past 65,535 workgroups", async () => {
    const n = Math.ceil((65_536 * 128) / 3); // linear.wgsl: 32 threads of 4 columns a workgroup, 3 rows
    const w = keepMatrix(gpu(), n, 4, "bf16"); // zeros, so that each column shows its own bias
    const bias = Float32Array.from({ length: n }, (_, i) => i);
    const x = values(12, 1);
    const got = await runOp(gpu(), () =>
      linear(gpu(), gpu().upload(x, [3, 4]), w, { bias: gpu().upload(bias, [n]) }),
    );
    freeMatrix(gpu(), w);
    let wrong = 0;
    for (let at = 0; at < 3 * n; at++) if (got[at] !== at % n) wrong++;
    expect(wrong).toBe(0);
  });

  test.each([[1], [5]])("an infinite or missing number is not hidden, %i rows", async (rows) => {
    const x = new Float32Array(rows * 4);
    x[0] = NaN;
    const w = keepWeights(gpu(), new Float32Array(4).fill(1), [1, 4], "f32");
    for (const activation of ["none", "relu"] as const) {
      const got = await runOp(gpu(), () => linear(gpu(), gpu().upload(x, [rows, 4]), w, { activation }));
      expect(got[0]).toBeNaN();
      expect([...got.subarray(1)]).toEqual(Array(rows - 1).fill(0));
    }
    freeMatrix(gpu(), w);
  });

  test.each<DType>(["f32", "bf16", "f16"])(
    "a %s weight in pieces gives the bits of one in one piece",
    async (dtype) => {
      const small = (await openDevice({ subgroups })).gpu;
      lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 }); // 7 rows of 560 / 4 f32 fit
      try {
        for (const rows of [2, 6]) {
          const c: Case = { rows, columns: 61, width: 140, dtype, bias: true, activation: "relu" };
          const pieces = keepMatrix(small, c.columns, c.width, dtype).pieces;
          expect(pieces.length).toBeGreaterThan(4);
          const whole = await product(gpu(), c);
          expect(await product(small, c)).toEqual(whole);
        }
      } finally {
        small.destroy();
      }
    },
  );

  describe("row r of a product of M rows has the bits of the product of that row alone", () => {
    test.each<Case>([
      { rows: 9, columns: 37, width: 560 },
      { rows: 9, columns: 37, width: 560, dtype: "bf16", bias: true, activation: "relu" },
      { rows: 9, columns: 37, width: 1028, dtype: "f16", bias: true, activation: "relu" },
    ])("width $width", async ({ rows, columns, width, dtype = "f32", bias, activation }) => {
      const x = values(rows * width, 5);
      const w = keepWeights(gpu(), values(columns * width, 6), [columns, width], dtype);
      const bias_ = values(columns, 7);
      const run = (from: number, to: number): Promise<Float32Array> =>
        runOp(gpu(), () => {
          const part = gpu().upload(x.slice(from * width, to * width), [to - from, width]);
          return linear(gpu(), part, w, {
            bias: bias ? gpu().upload(bias_, [columns]) : undefined,
            activation,
          });
        });
      const alone: Float32Array[] = [];
      for (let row = 0; row < rows; row++) alone.push(await run(row, row + 1));
      for (let count = 1; count <= rows; count++) {
        const together = await run(0, count);
        for (let row = 0; row < count; row++) {
          expect(together.slice(row * columns, (row + 1) * columns)).toEqual(alone[row]);
        }
      }
      freeMatrix(gpu(), w);
    });
  });

  test("refusals", async () => {
    const w = keepMatrix(gpu(), 5, 8, "f32");
    const odd = keepMatrix(gpu(), 5, 6, "f32");
    const step = (op: () => unknown): Promise<unknown> => gpu().step(() => (op(), []));
    const refused = async (op: () => unknown, message: string): Promise<void> =>
      expect(step(op)).rejects.toThrow(new ShapeError(message));
    const x = (): ReturnType<ReturnType<typeof gpu>["empty"]> => gpu().empty([2, 8]);
    await refused(() => linear(gpu(), gpu().empty([2, 12]), w), "linear: w must have 12 columns, got 8");
    await refused(
      () => linear(gpu(), gpu().empty([2, 6]), odd),
      "linear: x must have a multiple of 4 columns, got 6",
    );
    await refused(() => linear(gpu(), gpu().empty([8]), w), "linear: x must have 2 dimensions, got [8]");
    await refused(() => linear(gpu(), gpu().empty([2, 8], "u32"), w), "linear: x must be f32, got u32");
    await refused(
      () => linear(gpu(), x(), w, { bias: gpu().empty([8]) }),
      "linear: bias must be [5], got [8]",
    );
    for (const matrix of [w, odd]) freeMatrix(gpu(), matrix);
  });
});
