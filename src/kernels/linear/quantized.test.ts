import { describe, expect, test } from "vitest";
import { expectClose, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import { ShapeError } from "../../gpu/errors.js";
import { freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { embedding } from "../embedding/embedding.js";
import { linear } from "./linear.js";
import { linearRef } from "./linear.ref.js";

// q8 and q4 weights against f64 over the rounded weights: both kernel families, every tile, odd
// numbers of rows (q8's scales then end in half a word), widths of one block and of many, weights
// in pieces; a row's bits alone and among others; embedding rows.
const bound = 4e-7; // as for the other formats

const shapes = [
  ["q8", 32],
  ["q8", 96],
  ["q8", 1024],
  ["q4", 256],
  ["q4", 768],
  ["q4", 2560],
] as const;

describe.each([[true], [false]])("subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });

  test.each(shapes)("%s, width %i", async (format, width) => {
    const columns = 37;
    const { matrix, rounded } = keepQuantized(gpu(), normals(columns * width, 1), [columns, width], format);
    for (const rows of [1, 3, 4, 6, 9, 19]) {
      const x = values(rows * width, 2);
      const got = await runOp(gpu(), () => linear(gpu(), gpu().upload(x, [rows, width]), matrix));
      expectClose(got, linearRef(x, rounded, width), bound);
      const first = await runOp(gpu(), () =>
        linear(gpu(), gpu().upload(x.slice(0, width), [1, width]), matrix),
      );
      expect(got.slice(0, columns)).toEqual(first);
    }
    freeMatrix(gpu(), matrix);
  });

  test.each(["q8", "q4"] as const)("%s in pieces: the same bits", async (format) => {
    const [rows, width] = [131, 256];
    const small = (await openDevice({ subgroups })).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 4096 });
    const data = normals(rows * width, 3);
    const x = values(2 * width, 4);
    const whole = keepQuantized(gpu(), data, [rows, width], format);
    const pieces = keepQuantized(small, data, [rows, width], format);
    expect(pieces.matrix.pieces.length).toBeGreaterThan(4);
    const want = await runOp(gpu(), () => linear(gpu(), gpu().upload(x, [2, width]), whole.matrix));
    expect(await runOp(small, () => linear(small, small.upload(x, [2, width]), pieces.matrix))).toEqual(want);
    const ids = new Uint32Array([130, 15, 16, 28]);
    const rowsOf = await runOp(small, () => embedding(small, small.upload(ids, [ids.length]), pieces.matrix));
    for (const [i, id] of ids.entries()) {
      const row = whole.rounded.subarray(id * width, (id + 1) * width);
      expectClose(rowsOf.subarray(i * width, (i + 1) * width), row, 1e-7);
    }
    small.destroy();
    freeMatrix(gpu(), whole.matrix);
  });

  test("columns that are no whole blocks are refused", () => {
    expect(() => keepMatrix(gpu(), 4, 560, "q4")).toThrow(
      new ShapeError("q4: columns must be a multiple of 256, got 560"),
    );
    expect(() => keepMatrix(gpu(), 4, 40, "q8")).toThrow(
      new ShapeError("q8: columns must be a multiple of 32, got 40"),
    );
  });
});
