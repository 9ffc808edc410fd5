import { describe, expect, test } from "vitest";
import { expectClose, keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { countingGpu } from "../../gpu/counting.js";
import type { Gpu } from "../../gpu/device.js";
import { freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { Timing } from "../../gpu/timing.js";
import { openDevice } from "../../node/device.js";
import { costOf } from "../cost.js";
import { type LinearOptions, linear } from "./linear.js";
import { linearRef } from "./linear.ref.js";

// Products of f32 weights that are read through uniform windows: against f64, and with the bits of the
// same weights in pieces, which are read as storage; one group of 256 terms and two, windows that
// begin within others, tiles cut off on both sides, bias, activation and residual; the work that is
// counted; shapes that are read as storage.
const gpu = useGpu();
const bound = 2e-7;

interface Case {
  rows: number;
  width: number;
  columns: number;
  options?: Pick<LinearOptions, "activation"> & { bias?: boolean; residual?: boolean };
}

async function product(g: Gpu, { rows, width, columns, options = {} }: Case): Promise<Float32Array> {
  const w = keepWeights(g, values(columns * width, 2), [columns, width], "f32");
  const y = await runOp(g, () =>
    linear(g, g.upload(values(rows * width, 1), [rows, width]), w, {
      bias: options.bias ? g.upload(values(columns, 3), [columns]) : undefined,
      residual: options.residual ? g.upload(values(rows * columns, 4), [rows, columns]) : undefined,
      activation: options.activation,
    }),
  );
  freeMatrix(g, w);
  return y;
}

/** Dispatches of a product on a device that counts, and their work. */
async function counted(lanes: number, { rows, width, columns }: Case): Promise<[number, number]> {
  const g = countingGpu({ subgroupSize: lanes });
  const timing = (g.timing = new Timing(g.device));
  const w = keepMatrix(g, columns, width, "f32");
  await g.step(() => (void linear(g, g.empty([rows, width]), w), []));
  const { dispatches } = await timing.collect();
  const flops = dispatches.map(({ kernel, dispatch }) => costOf(kernel.name, dispatch).flops!);
  return [dispatches.length, flops.reduce((a, b) => a + b)];
}

const relu = { activation: "relu", bias: true } as const;
const shapes: (Case & { windows: number })[] = [
  { rows: 64, width: 128, columns: 128, windows: 1 },
  { rows: 65, width: 128, columns: 256, windows: 2, options: relu },
  { rows: 79, width: 400, columns: 144, windows: 5, options: { bias: true } },
  { rows: 64, width: 144, columns: 248, windows: 3, options: { residual: true } },
  { rows: 66, width: 256, columns: 72, windows: 2, options: { ...relu, residual: true } },
  { rows: 67, width: 512, columns: 72, windows: 3, options: relu },
];

describe.each(shapes)("$rows rows, $width terms, $columns columns", (c) => {
  test("against f64, and the bits of weights in pieces", async () => {
    const { rows, width, columns, options = {} } = c;
    const got = await product(gpu(), c);
    const bias = options.bias ? values(columns, 3) : undefined;
    const want = linearRef(
      values(rows * width, 1),
      values(columns * width, 2),
      width,
      bias,
      options.activation,
    );
    const residual = options.residual ? values(rows * columns, 4) : undefined;
    expectClose(got, residual ? want.map((value, i) => value + residual[i]) : want, bound);
    const { gpu: small } = await openDevice();
    lowerLimits(small, {
      maxStorageBufferBindingSize: rows * 4 * Math.max(width, columns),
      maxBufferSize: 1 << 20,
    });
    try {
      expect(keepMatrix(small, columns, width, "f32").pieces.length).toBeGreaterThan(1);
      expect(await product(small, c)).toEqual(got);
    } finally {
      small.destroy();
    }
  });

  test("a dispatch a window, and the work of one product", async () => {
    const flops = 2 * c.rows * c.width * c.columns;
    expect(await counted(8, c)).toEqual([c.windows, flops]);
    expect(await counted(32, c)).toEqual([1, flops]);
  });
});

test.each<[string, Case]>([
  ["few rows", { rows: 63, width: 128, columns: 256 }],
  ["less than a window", { rows: 64, width: 128, columns: 120 }],
  ["many windows", { rows: 64, width: 256, columns: 520 }],
  ["a tile of columns larger than a window", { rows: 64, width: 520, columns: 256 }],
  ["rows that are not whole blocks", { rows: 64, width: 132, columns: 256 }],
  ["an end that is no place for a window", { rows: 64, width: 136, columns: 131 }],
])("%s: read as storage", async (_, c) => {
  expect(await counted(8, c)).toEqual([1, 2 * c.rows * c.width * c.columns]);
});
