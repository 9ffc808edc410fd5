import { afterEach, describe, expect, test } from "vitest";
import { keepWeights, lowerLimits, openEmulated, runOp, useGpu, values } from "../../../test/gpu.js";
import { keepQuantized, normals } from "../../../test/helpers/quantized.js";
import { countingGpu } from "../../gpu/counting.js";
import type { Gpu } from "../../gpu/device.js";
import type { Tuning } from "../../gpu/kernel.js";
import { type Matrix, type WeightFormat, freeMatrix, keepMatrix } from "../../gpu/matrix.js";
import { Timing } from "../../gpu/timing.js";
import { openDevice } from "../../node/device.js";
import { gpuSizes } from "../gpu-sizes.js";
import { linear, linearSwiglu } from "./linear.js";
import { linearVariant, normedVariant } from "./variants.js";

// The products of GPUs, of one row and up to 16, against the bits of this device's usual kernels,
// which linear.test.ts holds to f64: every format, rows beside each tile, columns beside a workgroup's,
// widths beside groups of 256 and of several turns; bias, ReLU, residual, SwiGLU and RMSNorm inside;
// tiles of columns in turn; weights in pieces; numbers that are none; a device of 32 lanes. Where the
// family does not apply, the usual kernels run. This device's driver compiles each of these kernels for
// a second or more: `npm run check:lanes` takes all formats, rows and widths.
const gpu = useGpu({ timestamps: true });
afterEach(() => (gpu().tuning = {}));
const all = process.env.FUNASR_WEBGPU_EMULATED_LANES !== undefined;
const formats: WeightFormat[] = ["f32", "bf16", "f16", "q8", "q4"];
const table = gpuSizes({ vendor: "nvidia", architecture: "", device: "", description: "" } as GPUAdapterInfo);
/** The table with tiles of so many columns. */
const tilesOf = (N: number): Tuning =>
  Object.fromEntries(
    Object.entries(table).map(([name, sizes]) => [name, "N" in sizes ? { ...sizes, N } : sizes]),
  );

function keep(device: Gpu, [rows, columns]: readonly [number, number], format: WeightFormat): Matrix {
  const data = normals(rows * columns, rows + columns);
  if (format === "q8" || format === "q4") return keepQuantized(device, data, [rows, columns], format).matrix;
  return keepWeights(device, data, [rows, columns], format);
}

/** The result under a tuning, and the kernels that ran. */
async function run(
  device: Gpu,
  tuning: Tuning,
  op: () => ReturnType<typeof linear>,
): Promise<{ y: Float32Array; kernels: string[]; groups: number[] }> {
  device.tuning = tuning;
  const timing = (device.timing = new Timing(device.device));
  const y = await runOp(device, op);
  device.timing = undefined;
  const { dispatches } = await timing.collect();
  const ran = dispatches.map(({ kernel, dispatch }) => ({ name: kernel.name, groups: dispatch.groups }));
  return { y, kernels: ran.map(({ name }) => name), groups: ran.map(({ groups }) => groups) };
}

/** Expects the bits of the usual kernels, and that the family ran. */
async function same(device: Gpu, tuning: Tuning, op: () => ReturnType<typeof linear>): Promise<void> {
  const got = await run(device, tuning, op);
  expect(new Set(got.kernels)).toEqual(new Set(["linear/linear-blocks"]));
  const want = await run(device, {}, op);
  expect(want.kernels).not.toContain("linear/linear-blocks");
  expect(got.y).toEqual(want.y);
}

interface Case {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly columns: number;
  readonly width: number;
  readonly activation?: "relu";
}

/** With bias and residual. */
async function product(device: Gpu, tuning: Tuning, c: Case): Promise<void> {
  const w = keep(device, [c.columns, c.width], c.format);
  await same(device, tuning, () => {
    const up = (seed: number, ...shape: number[]): ReturnType<typeof linear> =>
      device.upload(
        values(
          shape.reduce((a, b) => a * b),
          seed,
        ),
        shape,
      );
    const options = { bias: up(2, c.columns), residual: up(3, c.rows, c.columns), activation: c.activation };
    return linear(device, up(1, c.rows, c.width), w, options);
  });
  freeMatrix(device, w);
}

describe.each(
  all
    ? formats.flatMap((format) => [4, 2].map((N) => [format, N] as const))
    : formats.map((format) => [format, 4] as const),
)("%s, %i columns", (format, N) => {
  const quantized = format === "q4" ? [256, 768, 2560] : [288, 32, 96, 2560];
  const widths = format.startsWith("q") ? quantized : [264, 8, 40, 256, 1032, 2312];
  const tuning = tilesOf(N);

  test.each(all ? widths : widths.slice(0, 1))("one row of width %i", async (width) => {
    for (const columns of [1, 2, 3, 37]) await product(gpu(), tuning, { format, rows: 1, columns, width });
  });

  test.each(all ? [2, 3, 4, 5, 8, 9, 13, 16] : [2])("%i rows", async (rows) => {
    const c: Case = { format, rows, columns: 37, width: widths[0], activation: "relu" };
    await product(gpu(), tuning, c);
    if (all) await product(gpu(), tuning, { ...c, width: widths.at(-1)! });
  });

  test.runIf(all || format === "q4")("RMSNorm inside, for a product and for SwiGLU", async () => {
    const width = 512;
    const w = keep(gpu(), [38, width], format);
    for (const gate of [false, true])
      await same(gpu(), tuning, () => {
        const x = gpu().upload(values(width, 1), [1, width]);
        const norm = { gamma: gpu().upload(values(width, 2, 1), [width]), eps: 1e-5 };
        return gate ? linearSwiglu(gpu(), x, [w], norm) : linear(gpu(), x, w, { norm });
      });
    freeMatrix(gpu(), w);
  });
});

describe("the table's tiles", () => {
  test("one row in two turns of groups", () =>
    product(gpu(), table, { format: "bf16", rows: 1, columns: 37, width: 2312 }));

  test("13 rows", () => product(gpu(), table, { format: "bf16", rows: 13, columns: 37, width: 264 }));

  test("SwiGLU after RMSNorm, tiles of columns in turn", async () => {
    const w = keep(gpu(), [2 * 37, 264], "bf16");
    const tuning = { "linear bf16 1 normed": { N: 4, workgroups: 3 } };
    const op = (): ReturnType<typeof linear> => {
      const norm = { gamma: gpu().upload(values(264, 2, 1), [264]), eps: 1e-5 };
      return linearSwiglu(gpu(), gpu().upload(values(264, 1), [1, 264]), [w], norm);
    };
    await same(gpu(), tuning, op);
    expect((await run(gpu(), tuning, op)).groups).toEqual([3]); // 19 tiles in 3 strips of 7
    freeMatrix(gpu(), w);
  });

  test("weights in pieces", async () => {
    const small = (await openDevice({ timestamps: true })).gpu;
    lowerLimits(small, { maxStorageBufferBindingSize: 4096, maxBufferSize: 8192 });
    await product(small, table, { format: "bf16", rows: 1, columns: 61, width: 264 });
    small.destroy();
  });

  test("a device of 32 lanes gives these bits", async () => {
    const wide = (await openEmulated(32)).gpu;
    const results: Float32Array[] = [];
    for (const device of [gpu(), wide]) {
      const w = keep(device, [37, 264], "bf16");
      device.tuning = table;
      const y = await runOp(device, () => linear(device, device.upload(values(264, 1), [1, 264]), w));
      results.push(y);
      freeMatrix(device, w);
    }
    expect(results[1]).toEqual(results[0]);
    wide.destroy();
  });

  test("a number that is none is not hidden, and stays in its row", async () => {
    const x = values(2 * 264, 1);
    x[5] = NaN;
    const w = keep(gpu(), [3, 264], "bf16");
    const { y } = await run(gpu(), table, () => linear(gpu(), gpu().upload(x, [2, 264]), w));
    freeMatrix(gpu(), w);
    expect([...y].map(Number.isNaN)).toEqual([true, true, true, false, false, false]);
  });
});

// A thread reads 16 bytes of a row of w, so a workgroup of wide tiles may have few threads.
test.each(Object.keys(table).filter((name) => name.startsWith("linear ")))(
  "%s: at K = 1024 a workgroup of the table has 32 threads or more",
  (name) => {
    const device = countingGpu({ subgroupSize: 32, tuning: table });
    const [, format, rows] = /^linear (\S+) (?:\d-)?(\d+)/.exec(name)!;
    const w = keepMatrix(device, 64, 1024, format as WeightFormat);
    const { kernel } = name.endsWith("normed")
      ? normedVariant(device, w, 1)!
      : linearVariant(device, w, Number(rows));
    expect(kernel.name).toBe("linear/linear-blocks");
    const constant = (of: string): number =>
      Number(new RegExp(`^const ${of} = (\\d+)u;`, "m").exec(kernel.source)![1]);
    expect((32 * constant("G")) / constant("UNIT")).toBeGreaterThanOrEqual(32);
  },
);

describe("the usual kernels run", () => {
  async function usual(device: Gpu, rows: number, width: number, norm: boolean): Promise<string[]> {
    const w = keep(device, [5, width], "f32");
    const { kernels } = await run(device, table, () => {
      const gamma = device.upload(values(width, 2), [width]);
      const x = device.upload(values(rows * width, 1), [rows, width]);
      return linear(device, x, w, norm ? { norm: { gamma, eps: 1e-6 } } : {});
    });
    freeMatrix(device, w);
    return kernels;
  }

  test("for 17 rows and for rows of no whole blocks", async () => {
    expect(await usual(gpu(), 17, 40, false)).toEqual(["linear/linear-subgroup"]);
    expect(await usual(gpu(), 1, 44, false)).toEqual(["linear/linear"]);
  });

  test("where subgroups have no one size: the rows of a prompt add in another order there", async () => {
    const portable = (await openDevice({ subgroups: false, timestamps: true })).gpu;
    expect(await usual(portable, 1, 40, false)).toEqual(["linear/linear"]);
    portable.destroy();
  });

  test("for the norm of a row that workgroup memory has no room for", async () => {
    expect(await usual(countingGpu({ subgroupSize: 32 }), 1, 4096, true)).toEqual([
      "rms-norm/rms-norm-subgroup",
      "linear/linear-blocks",
    ]);
  });
});
