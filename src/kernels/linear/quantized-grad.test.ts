import { describe, expect, test } from "vitest";
import { expectClose, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import type { Gpu } from "../../gpu/device.js";
import { freeMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { linearInputGrad } from "./linear-backward.js";
import { linearBackwardRef } from "./linear.ref.js";

// linearInputGrad of q8 and q4 weights against f64 over the rounded weights, whichever kernel takes
// them: with subgroups and without, rows of the weight that are whole blocks of 8 and that are
// none, widths of one block and of many, one row and many, pieces; and that the weights as they
// were before rounding are distinguished.
const bound = 4e-7; // as for linear

const shapes = [
  ["q8", 32],
  ["q8", 96],
  ["q8", 1024],
  ["q4", 256],
  ["q4", 768],
] as const;
type Format = (typeof shapes)[number][0];

async function check(
  gpu: Gpu,
  rows: number,
  columns: number,
  [format, width]: [Format, number],
): Promise<void> {
  const weights = normals(columns * width, 1);
  const { matrix, rounded } = keepQuantized(gpu, weights, [columns, width], format);
  const dy = values(rows * columns, 2);
  const got = await runOp(gpu, () => linearInputGrad(gpu, gpu.upload(dy, [rows, columns]), matrix));
  freeMatrix(gpu, matrix);
  const of = (w: ArrayLike<number>): ArrayLike<number> =>
    linearBackwardRef(dy, new Float64Array(rows * width), w, width).dx;
  expectClose(got, of(rounded), bound);
  expect(() => expectClose(got, of(weights), bound)).toThrow();
}

describe.each([[true], [false]])("subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });

  test.each(shapes)("%s, width %i", async (format, width) => {
    for (const columns of [37, 40, 264])
      for (const rows of [1, 5, 17]) await check(gpu(), rows, columns, [format, width]);
  });

  test.each([shapes[1], shapes[3]])("%s, width %i, in pieces", async (format, width) => {
    const small = (await openDevice({ subgroups })).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
    await check(small, 3, 61, [format, width]);
    small.destroy();
  });
});
