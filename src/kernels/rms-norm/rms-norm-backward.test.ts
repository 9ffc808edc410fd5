import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { rmsNormBackward } from "./rms-norm-backward.js";
import { rmsNormBackwardRef, rmsNormRef } from "./rms-norm.ref.js";

// The reference against central differences; then both gradients against it: widths around the
// workgroup of 32, a prime and the real ones, each head of a row, rows around the blocks of 32 of
// the weight's sum, past 65,535 rows, an offset, one column of 1187, with subgroups and without;
// then NaN and the refusals.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 3e-7; // the division, the root and four products, 3e-8 each, and sums of up to 128 terms

interface Case {
  rows: number;
  width: number;
  heads?: number;
  offset?: number;
  outlier?: number;
  eps?: number;
}

interface Inputs {
  dy: Float32Array;
  x: Float32Array;
  gamma: Float32Array;
}

function inputs({ rows, width, heads = 1, offset, outlier }: Case): Inputs {
  const count = rows * heads * width;
  const x = values(count, 1, offset);
  if (outlier !== undefined) for (let r = 0; r < rows; r++) x[r * width + 3] = outlier;
  return { dy: values(count, 2), x, gamma: values(width, 3, 1) };
}

async function run(
  { dy, x, gamma }: Inputs,
  heads = 1,
  eps?: number,
  g = gpu(),
): Promise<{ dx: Float32Array; dWeight: Float32Array }> {
  const shape = [x.length / gamma.length / heads, gamma.length * heads];
  const [dx, dWeight] = await g.step(() => {
    const weight = g.upload(gamma, [gamma.length]);
    const got = rmsNormBackward(g, g.upload(dy, shape), g.upload(x, shape), weight, eps, {
      weightGrad: true,
    });
    return [got.dx, got.dWeight!];
  });
  return { dx: dx as Float32Array, dWeight: dWeight as Float32Array };
}

test.each([[1e-6], [0.5]])("the reference agrees with central differences, eps %f", (eps) => {
  const [dy, x, gamma] = [doubles(21, 1), doubles(21, 2), doubles(7, 3, 1)];
  const { dx, dWeight } = rmsNormBackwardRef(dy, x, gamma, eps);
  expectClose(
    dx,
    centralDifferences((at) => dot(dy, rmsNormRef(at, gamma, eps)), x),
    differenceBound,
  );
  expectClose(
    dWeight,
    centralDifferences((at) => dot(dy, rmsNormRef(x, at, eps)), gamma),
    differenceBound,
  );
});

describe("against f64", () => {
  test.each<Case>([
    ...[2, 31, 32, 33, 131, 512, 1024, 4096].map((width) => ({ rows: 5, width })),
    ...[1, 31, 32, 33, 1100].map((rows) => ({ rows, width: 36 })),
    { rows: 3, width: 128, heads: 16 },
    { rows: 13, width: 33, heads: 7 },
    { rows: 13, width: 72 },
    { rows: 5, width: 1024, offset: 3 },
    { rows: 5, width: 1024, outlier: 1187 },
    { rows: 5, width: 128, eps: 0.5 },
    { rows: 65_537, width: 8 },
  ])("$rows rows of $heads x $width, offset $offset, outlier $outlier", async (c) => {
    const data = inputs(c);
    const want = rmsNormBackwardRef(data.dy, data.x, data.gamma, c.eps ?? 1e-6);
    for (const g of [gpu(), portable()]) {
      const got = await run(data, c.heads, c.eps, g);
      expectClose(got.dx, want.dx, bound);
      expectClose(got.dWeight, want.dWeight, bound);
    }
  });
});

test("without weightGrad only dx is made, the same", async () => {
  const data = inputs({ rows: 3, width: 40 });
  const g = gpu();
  const [alone] = await g.step(() => {
    const got = rmsNormBackward(g, g.upload(data.dy, [3, 40]), g.upload(data.x, [3, 40]), g.upload(data.gamma, [40])); // prettier-ignore
    expect(got.dWeight).toBeUndefined();
    return [got.dx];
  });
  expect(alone).toEqual((await run(data)).dx);
});

test("a NaN spoils its own row and the whole weight gradient that it joins, and no other row", async () => {
  for (const name of ["x", "dy"] as const) {
    const data = inputs({ rows: 3, width: 40 });
    data[name][45] = NaN;
    const { dx, dWeight } = await run(data);
    const spoiled = [0, 1, 2].map((row) => dx.subarray(40 * row, 40 * row + 40).filter(Number.isNaN).length);
    expect(spoiled).toEqual([0, 40, 0]);
    expect(dWeight.filter(Number.isNaN).length).toBe(name === "x" ? 40 : 1);
  }
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const g = gpu();
  await refused(
    () => rmsNormBackward(g, g.empty([2, 8]), g.empty([2, 8]), g.empty([3])),
    "rmsNormBackward: gamma must have a length that divides 8, got 3",
  );
  await refused(
    () => rmsNormBackward(g, g.empty([2, 7]), g.empty([2, 8]), g.empty([8])),
    "rmsNormBackward: dy must be [2, 8], got [2, 7]",
  );
  await refused(
    () => rmsNormBackward(g, g.empty([2, 8]), g.empty([2, 8], "u32"), g.empty([8])),
    "rmsNormBackward: x must be f32, got u32",
  );
});
