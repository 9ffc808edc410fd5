import { describe, expect, test } from "vitest";
import { expectClose, runOp, useGpu } from "../../../test/gpu.js";
import { ShapeError } from "../../gpu/errors.js";
import { mulAddRef } from "./mul-add.ref.js";
import { mulAdd } from "./mul-add.js";

// Elements around a workgroup and rounds from none on, against double precision; factors that are
// not two.
const gpu = useGpu();

describe("mulAdd", () => {
  test.each([
    [1, 0],
    [63, 1],
    [65, 7],
    [257, 40],
  ])("%i elements, %i rounds", async (count, rounds) => {
    const [b, c] = [Math.fround(0.99), Math.fround(0.5)];
    const got = await runOp(gpu(), () => {
      const y = gpu().empty([count]);
      mulAdd(gpu(), gpu().upload(Float32Array.of(b, c), [2]), y, rounds);
      return y;
    });
    expectClose(got, mulAddRef(count, [b, c], rounds), 2e-6);
  });

  test("three factors", async () => {
    const failed = gpu().step(() => {
      mulAdd(gpu(), gpu().upload(new Float32Array(3), [3]), gpu().empty([1]), 1);
      return [];
    });
    await expect(failed).rejects.toThrow(new ShapeError("mulAdd: factors must be [2], got [3]"));
  });
});
