import { describe, expect, test } from "vitest";
import { centralDifferences, differenceBound, dot, doubles } from "../../../test/gradients.js";
import { expectClose, relativeRms, useGpu, values } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { layerNormBackward } from "./layer-norm-backward.js";
import { layerNormBackwardRef, layerNormRef } from "./layer-norm.ref.js";

// The reference against central differences; then the three gradients against it: widths around the
// workgroup of 32, a prime and the real ones, rows around the blocks of 32 of the sums over rows,
// past 65,535 rows, an offset of 1000, one column of 1187, with subgroups and without; a gradient
// that is the same in every column; then NaN and the refusals.
const gpu = useGpu();
const portable = useGpu({ subgroups: false });
const bound = 3e-7; // the division, the root and four products, 3e-8 each, and sums of up to 128 terms

interface Case {
  rows: number;
  width: number;
  offset?: number;
  outlier?: number;
  eps?: number;
}

interface Inputs {
  dy: Float32Array;
  x: Float32Array;
  gamma: Float32Array;
}

function inputs({ rows, width, offset, outlier }: Case): Inputs {
  const x = values(rows * width, 1, offset);
  if (outlier !== undefined) for (let r = 0; r < rows; r++) x[r * width + 3] = outlier;
  return { dy: values(rows * width, 2), x, gamma: values(width, 3, 1) };
}

async function run(
  { dy, x, gamma }: Inputs,
  eps?: number,
  g = gpu(),
): Promise<{ dx: Float32Array; dWeight: Float32Array; dBias: Float32Array }> {
  const shape = [x.length / gamma.length, gamma.length];
  const [dx, dWeight, dBias] = (await g.step(() => {
    const weight = g.upload(gamma, [gamma.length]);
    const got = layerNormBackward(g, g.upload(dy, shape), g.upload(x, shape), weight, eps, { weightGrad: true }); // prettier-ignore
    return [got.dx, got.dWeight!, got.dBias!];
  })) as Float32Array[];
  return { dx, dWeight, dBias };
}

test.each([[1e-5], [0.5]])("the reference agrees with central differences, eps %f", (eps) => {
  const [dy, x, gamma, beta] = [doubles(21, 1), doubles(21, 2), doubles(7, 3, 1), doubles(7, 4)];
  const { dx, dWeight, dBias } = layerNormBackwardRef(dy, x, gamma, eps);
  const wants: [Float64Array, (at: Float64Array) => Float64Array, Float64Array][] = [
    [dx, (at) => layerNormRef(at, gamma, beta, eps), x],
    [dWeight, (at) => layerNormRef(x, at, beta, eps), gamma],
    [dBias, (at) => layerNormRef(x, gamma, at, eps), beta],
  ];
  for (const [got, forward, at] of wants) {
    expectClose(
      got,
      centralDifferences((value) => dot(dy, forward(value)), at),
      differenceBound,
    );
  }
});

describe("against f64", () => {
  test.each<Case>([
    ...[3, 31, 32, 33, 131, 512, 560, 1024, 4096].map((width) => ({ rows: 5, width })),
    ...[1, 31, 32, 33, 1100].map((rows) => ({ rows, width: 36 })),
    ...[31, 560, 1024].map((width) => ({ rows: 5, width, offset: 1000 })),
    { rows: 1, width: 512, outlier: 1187 }, // of more rows the sum for its column would cancel to a fraction
    { rows: 5, width: 560, eps: 1e-12 },
    { rows: 65_537, width: 8 },
  ])("$rows rows of $width, offset $offset, outlier $outlier", async (c) => {
    const data = inputs(c);
    const want = layerNormBackwardRef(data.dy, data.x, data.gamma, c.eps ?? 1e-5);
    for (const g of [gpu(), portable()]) {
      const got = await run(data, c.eps, g);
      expectClose(got.dx, want.dx, bound);
      expectClose(got.dWeight, want.dWeight, bound);
      expectClose(got.dBias, want.dBias, bound);
    }
  });
});

test("a gradient that is the same in every column has no effect on x, whatever the rows' level", async () => {
  const dy = new Float32Array(3 * 560).fill(7);
  const x = values(3 * 560, 1, 1000);
  for (const g of [gpu(), portable()]) {
    const { dx } = await run({ dy, x, gamma: new Float32Array(560).fill(1) }, undefined, g);
    expect(relativeRms(dx.map((value) => value + 7), dy)).toBeLessThan(1e-6); // prettier-ignore
  }
});

test("a NaN spoils its own row and the sums that it joins, and no other row", async () => {
  for (const name of ["x", "dy"] as const) {
    const data = inputs({ rows: 3, width: 40 });
    data[name][45] = NaN;
    const { dx, dWeight, dBias } = await run(data);
    const spoiled = [0, 1, 2].map((row) => dx.subarray(40 * row, 40 * row + 40).filter(Number.isNaN).length);
    expect(spoiled).toEqual([0, 40, 0]);
    expect(dWeight.filter(Number.isNaN).length).toBe(name === "x" ? 40 : 1);
    expect(dBias.filter(Number.isNaN).length).toBe(name === "x" ? 0 : 1);
  }
});

test("refusals", async () => {
  const refused = async (op: () => unknown, message: string): Promise<void> =>
    expect(gpu().step(() => (op(), []))).rejects.toThrow(new ShapeError(message));
  const g = gpu();
  await refused(
    () => layerNormBackward(g, g.empty([2, 8]), g.empty([2, 8]), g.empty([4])),
    "layerNormBackward: gamma must be [8], got [4]",
  );
  await refused(
    () => layerNormBackward(g, g.empty([3, 8]), g.empty([2, 8]), g.empty([8])),
    "layerNormBackward: dy must be [2, 8], got [3, 8]",
  );
  await refused(
    () => layerNormBackward(g, g.empty([2, 8], "u32"), g.empty([2, 8]), g.empty([8])),
    "layerNormBackward: dy must be f32, got u32",
  );
});
