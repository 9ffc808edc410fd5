import { mean, std } from "mathjs";
import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { layerNorm } from "./layer-norm.js";
import { layerNormRef } from "./layer-norm.ref.js";

// Rows against f64: widths around the workgroup of 32, a prime and the real ones; past 65,535 rows;
// an offset of 1000, an all-equal row, one column of 1187, with subgroups and without; then NaN and
// the refusals.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 1.5e-7; // the division, the root, two products and a sum, 3e-8 each, and sums of up to 16 terms

interface Case {
  rows: number;
  width: number;
  offset?: number;
  eps?: number;
  outlier?: number;
}

function rowsOf({ rows, width, offset = 0, outlier }: Case): Float32Array {
  const x = values(rows * width, 1, offset);
  if (outlier !== undefined) for (let r = 0; r < rows; r++) x[r * width + 3] = outlier;
  return x;
}

async function run(
  x: Float32Array,
  gamma: Float32Array,
  beta: Float32Array,
  eps?: number,
  g = gpu(),
): Promise<Float32Array> {
  const width = gamma.length;
  return runOp(g, () =>
    layerNorm(
      g,
      g.upload(x, [x.length / width, width]),
      g.upload(gamma, [width]),
      g.upload(beta, [width]),
      eps,
    ),
  );
}

test("the reference agrees with mathjs", () => {
  const x = [1, 5, -2, 0.5];
  const center = mean(x);
  const spread = Number(std(x, "uncorrected"));
  const want = x.map((value) => ((value - center) / spread) * 2 + 0.25);
  const got = layerNormRef(x, [2, 2, 2, 2], [0.25, 0.25, 0.25, 0.25], 0);
  for (const [i, value] of want.entries()) expect(got[i]).toBeCloseTo(value, 14);
});

describe("against f64", () => {
  test.each<Case>([
    ...[1, 31, 32, 33, 131, 512, 560, 1024, 4096].map((width) => ({ rows: 5, width })),
    ...[31, 560, 1024].map((width) => ({ rows: 5, width, offset: 1000 })),
    { rows: 5, width: 512, outlier: 1187 },
    { rows: 5, width: 560, eps: 1e-12 },
    { rows: 65_537, width: 8 },
  ])("$rows rows of $width, offset $offset, outlier $outlier", async (c) => {
    const x = rowsOf(c);
    const [gamma, beta] = [values(c.width, 2, 1), values(c.width, 3)];
    const want = layerNormRef(x, gamma, beta, c.eps ?? 1e-5);
    for (const g of [gpu(), portable()]) expectClose(await run(x, gamma, beta, c.eps, g), want, bound);
  });
});

test.each([[0], [1000.1], [-3e4]])("a row of equal values %f becomes beta", async (value) => {
  const beta = values(560, 3);
  for (const g of [gpu(), portable()]) {
    const got = await run(new Float32Array(560).fill(value), values(560, 2, 1), beta, undefined, g);
    expectClose(got, beta, bound);
  }
});

test("a NaN spoils its own row and no other", async () => {
  const x = values(3 * 40, 1);
  x[45] = NaN;
  const got = await run(x, values(40, 2, 1), values(40, 3));
  expect([0, 1, 2].map((row) => got.subarray(40 * row, 40 * row + 40).filter(Number.isNaN).length)).toEqual([
    0, 40, 0,
  ]);
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const empty = (...shape: number[]): ReturnType<ReturnType<typeof gpu>["empty"]> => gpu().empty(shape);
  await refused(
    () => layerNorm(gpu(), empty(2, 512), empty(560), empty(512)),
    "layerNorm: gamma must be [512], got [560]",
  );
  await refused(
    () => layerNorm(gpu(), empty(2, 512), empty(512), empty(1, 512)),
    "layerNorm: beta must be [512], got [1, 512]",
  );
  await refused(
    () => layerNorm(gpu(), empty(512), empty(512), empty(512)),
    "layerNorm: x must have 2 dimensions, got [512]",
  );
  await refused(
    () => layerNorm(gpu(), empty(2, 512), gpu().empty([512], "u32"), empty(512)),
    "layerNorm: gamma must be f32, got u32",
  );
});
