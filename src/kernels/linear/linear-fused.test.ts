import { describe, expect, test } from "vitest";
import { keepWeights, lowerLimits, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, type WeightFormat, freeMatrix } from "../../gpu/matrix.js";
import { openDevice } from "../../node/device.js";
import { add } from "../add/add.js";
import { rmsNorm } from "../rms-norm/rms-norm.js";
import { scale } from "../scale/scale.js";
import { swiglu } from "../swiglu/swiglu.js";
import { linear, linearSwiglu, projection } from "./linear.js";

// What linear does besides the product has the bits of the ops apart, in both kernel families:
// residual and LoRA against `add`; gate and up as one matrix against two and `swiglu`; the input's
// norm against `rmsNorm`, whether or not it takes a dispatch of its own; every format, one row and
// several, columns around a subgroup, pieces.
const formats: WeightFormat[] = ["f32", "bf16", "f16", "q8", "q4"];

function keep(gpu: Gpu, data: Float32Array, shape: readonly [number, number], format: WeightFormat): Matrix {
  if (format === "q8" || format === "q4") return keepQuantized(gpu, data, shape, format).matrix;
  return keepWeights(gpu, data, shape, format);
}

describe.each([[true], [false]])("subgroups %s", (subgroups) => {
  const gpu = useGpu({ subgroups });

  test("a low-rank addition and a residual take no sum of their own", async () => {
    const [rows, columns, width, rank] = [5, 37, 64, 8];
    const w = keep(gpu(), values(columns * width, 1), [columns, width], "f32");
    const a = keep(gpu(), values(rank * width, 2), [rank, width], "f32");
    const b = keep(gpu(), values(columns * rank, 3), [columns, rank], "f32");
    const [x, r] = [values(rows * width, 4), values(rows * columns, 5)];
    const call = (fused: boolean): Promise<Float32Array> =>
      runOp(gpu(), () => {
        const input = gpu().upload(x, [rows, width]);
        const residual = gpu().upload(r, [rows, columns]);
        if (fused) {
          const lora = { a, b, scale: 0.5, dropout: 0, stream: 0 };
          return projection(gpu(), input, { ...w, lora }, residual);
        }
        const low = linear(gpu(), scale(gpu(), linear(gpu(), input, a), 0.5), b);
        return add(gpu(), add(gpu(), linear(gpu(), input, w), residual), low);
      });
    const before = gpu().counts.dispatches;
    const got = await call(true);
    expect(gpu().counts.dispatches - before).toBe(4); // three products and the scale
    expect(got).toEqual(await call(false));
    for (const matrix of [w, a, b]) freeMatrix(gpu(), matrix);
  });

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
      const got = (on: Gpu, matrices: readonly Matrix[]): Promise<Float32Array> =>
        runOp(on, () => linearSwiglu(on, on.upload(x, [rows, width]), matrices));
      expect(await got(device, [both])).toEqual(want);
      expect(await got(gpu(), apart)).toEqual(want);
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

  /**
   * The norm inside against the norm before, for a product with bias and residual and for a gate;
   * the dispatches of both together.
   */
  async function normed(device: Gpu, w: Matrix, rows: number): Promise<number> {
    const [x, gamma] = [values(rows * w.columns, 3), values(w.columns, 4, 1)];
    const [bias, r] = [values(w.rows, 5), values(rows * w.rows, 6)];
    let dispatches = 0;
    const run = (inside: boolean, gate: boolean): Promise<Float32Array> =>
      runOp(device, () => {
        const input = device.upload(x, [rows, w.columns]);
        const norm = { gamma: device.upload(gamma, [w.columns]), eps: 1e-5 };
        const h = inside ? input : rmsNorm(device, input, norm.gamma, norm.eps);
        const options = {
          bias: device.upload(bias, [w.rows]),
          residual: device.upload(r, [rows, w.rows]),
          norm: inside ? norm : undefined,
        };
        const before = device.counts.dispatches;
        const y = gate ? linearSwiglu(device, h, [w], options.norm) : linear(device, h, w, options);
        if (inside) dispatches += device.counts.dispatches - before;
        return y;
      });
    for (const gate of [false, true]) expect(await run(true, gate)).toEqual(await run(false, gate));
    return dispatches;
  }

  test.each(formats)("a norm, %s", async (format) => {
    const [columns, width] = [300, 512];
    const w = keep(gpu(), normals(columns * width, 1), [columns, width], format);
    expect(await normed(gpu(), w, 1)).toBe(subgroups ? 2 : 2 + 3);
    await normed(gpu(), w, 3);
    freeMatrix(gpu(), w);
  });

  test.each([8, 24, 40, 1032, 4096, 4104])("a norm of width %i", async (width) => {
    const w = keep(gpu(), normals(6 * width, 1), [6, width], "bf16");
    const one = subgroups && 4 * width <= gpu().device.limits.maxComputeWorkgroupStorageSize;
    expect(await normed(gpu(), w, 1)).toBe(one ? 2 : 2 + 2 + (subgroups ? 0 : 1));
    freeMatrix(gpu(), w);
  });

  test("a norm, the weight in pieces", async () => {
    const small = (await openDevice({ subgroups })).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
    const w = keepWeights(small, values(58 * 64, 1), [58, 64], "f32");
    expect(w.pieces.length).toBeGreaterThan(3);
    await normed(small, w, 1);
    small.destroy();
  });

  test("a norm whose row is no number makes a result that is none", async () => {
    const w = keepWeights(gpu(), new Float32Array(80).fill(1), [2, 40], "f32");
    const x = values(40, 1);
    x[17] = NaN;
    const got = await runOp(gpu(), () => {
      const norm = { gamma: gpu().upload(values(40, 2, 1), [40]), eps: 1e-6 };
      return linear(gpu(), gpu().upload(x, [1, 40]), w, { norm });
    });
    freeMatrix(gpu(), w);
    expect([...got]).toEqual([NaN, NaN]);
  });

  test("a gate that is no number is not hidden", async () => {
    const x = Float32Array.of(NaN, 0, 0, 0, 0, 0, 0, 0);
    const w = keepWeights(gpu(), new Float32Array(16).fill(1), [2, 8], "f32");
    const got = await runOp(gpu(), () => linearSwiglu(gpu(), gpu().upload(x, [1, 8]), [w]));
    freeMatrix(gpu(), w);
    expect([...got]).toEqual([NaN]);
  });

  test("refusals", async () => {
    const w = keepWeights(gpu(), values(40, 1), [5, 8], "f32");
    const x = (): ReturnType<Gpu["empty"]> => gpu().empty([2, 8]);
    const refused = (op: () => unknown, message: string): Promise<void> =>
      expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
    await refused(() => linearSwiglu(gpu(), x(), [w]), "linear: gateUp must have even rows, got 5");
    await refused(
      () => linear(gpu(), x(), w, { residual: gpu().empty([2, 8]) }),
      "linear: residual must be [2, 5], got [2, 8]",
    );
    freeMatrix(gpu(), w);
  });
});
