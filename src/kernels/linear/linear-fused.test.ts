import { describe, expect, test } from "vitest";
import { keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, type WeightFormat, freeMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { add } from "../add/add.js";
import { swiglu } from "../swiglu/swiglu.js";
import { linear, linearSwiglu } from "./linear.js";

// What linear does besides the product has the bits of the ops apart, in both kernel families: the residual against `add`;
// gate and up as one matrix against two and `swiglu`; every format, one row and several, columns around a subgroup, pieces.
const formats: WeightFormat[] = ["f32", "bf16", "f16", "q8", "q4"];

function keep(gpu: Gpu, data: Float32Array, shape: readonly [number, number], format: WeightFormat): Matrix {
  if (format === "q8" || format === "q4") return keepQuantized(gpu, data, shape, format).matrix;
  return keepWeights(gpu, data, shape, format);
}

describe.each([[true], [false]])("subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });

  test.each(formats)("a residual, %s", async (format) => {
    const [columns, width] = [37, 256];
    const w = keep(gpu(), normals(columns * width, 1), [columns, width], format);
    const bias = values(columns, 2);
    for (const rows of [1, 3, 6, 17]) {
      const x = values(rows * width, 3);
      const r = values(rows * columns, 4);
      for (const activation of ["none", "relu"] as const) {
        const call = (fused: boolean): Promise<Float32Array> =>
          runOp(gpu(), () => {
            const input = gpu().upload(x, [rows, width]);
            const options = { bias: gpu().upload(bias, [columns]), activation };
            const residual = gpu().upload(r, [rows, columns]);
            if (fused) return linear(gpu(), input, w, { ...options, residual });
            return add(gpu(), linear(gpu(), input, w, options), residual);
          });
        expect(await call(true)).toEqual(await call(false));
      }
    }
    freeMatrix(gpu(), w);
  });

  async function gated(device: Gpu, f: number, width: number, format: WeightFormat): Promise<void> {
    const [gate, up] = [normals(f * width, 1), normals(f * width, 2)];
    const both = keep(device, Float32Array.of(...gate, ...up), [2 * f, width], format);
    const apart = [gate, up].map((data) => keep(gpu(), data, [f, width], format));
    for (const rows of [1, 3, 11]) {
      const x = values(rows * width, 3);
      const want = await runOp(gpu(), () => {
        const input = gpu().upload(x, [rows, width]);
        return swiglu(gpu(), linear(gpu(), input, apart[0]), linear(gpu(), input, apart[1]));
      });
      const got = await runOp(device, () => linearSwiglu(device, device.upload(x, [rows, width]), both));
      expect(got).toEqual(want);
    }
    freeMatrix(device, both);
    for (const matrix of apart) freeMatrix(gpu(), matrix);
  }

  test.each(formats)("gate and up, %s", (format) => gated(gpu(), 37, 256, format));

  test.each([1, 3, 4, 5, 8, 64])("gate and up, %i columns", (f) => gated(gpu(), f, 40, "bf16"));

  test("gate and up in pieces", async () => {
    const small = (await openDevice({ subgroups })).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
    await gated(small, 29, 64, "f32");
    small.destroy();
  });

  test("a gate that is no number is not hidden", async () => {
    const x = Float32Array.of(NaN, 0, 0, 0, 0, 0, 0, 0);
    const w = keepWeights(gpu(), new Float32Array(16).fill(1), [2, 8], "f32");
    const got = await runOp(gpu(), () => linearSwiglu(gpu(), gpu().upload(x, [1, 8]), w));
    freeMatrix(gpu(), w);
    expect([...got]).toEqual([NaN]);
  });

  test("refusals", async () => {
    const w = keepWeights(gpu(), values(40, 1), [5, 8], "f32");
    const x = (): ReturnType<Gpu["empty"]> => gpu().empty([2, 8]);
    const refused = (op: () => unknown, message: string): Promise<void> =>
      expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
    await refused(() => linearSwiglu(gpu(), x(), w), "linear: gateUp must have even rows, got 5");
    await refused(
      () => linear(gpu(), x(), w, { residual: gpu().empty([2, 8]) }),
      "linear: residual must be [2, 5], got [2, 8]",
    );
    freeMatrix(gpu(), w);
  });
});
