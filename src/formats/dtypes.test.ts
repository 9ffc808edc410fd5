import { beforeAll, describe, expect, test } from "vitest";
import { fixtureBytes, refusal } from "../../test/helpers/checkpoint.js";
import { fromFloat32, toFloat32 } from "./dtypes.js";
import { openSafetensors, readTensor } from "../checkpoint/safetensors/safetensors.js";
import { bytesSource } from "../checkpoint/source.js";

// Plan: widening is exact and narrowing rounds as torch: every 16-bit pattern, and torch's results
// for ties and edge cases.

const ALL = Uint16Array.from({ length: 0x10000 }, (_, i) => i);

/** The value of an f16 or bf16 pattern by its definition. */
function definition(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits >>> mantissaBits) & ((1 << exponentBits) - 1);
  const mantissa = bits & ((1 << mantissaBits) - 1);
  const bias = (1 << (exponentBits - 1)) - 1;
  if (exponent === (1 << exponentBits) - 1) return mantissa ? NaN : sign * Infinity;
  const significand = exponent ? 1 + mantissa / 2 ** mantissaBits : mantissa / 2 ** mantissaBits;
  return sign * significand * 2 ** (Math.max(exponent, 1) - bias);
}

describe.each([
  { dtype: "F16", exponent: 5, mantissa: 10, quiet: 0x200 },
  { dtype: "BF16", exponent: 8, mantissa: 7, quiet: 0x40 },
] as const)("$dtype", ({ dtype, exponent, mantissa, quiet }) => {
  test("all 65,536 patterns widen to their value and narrow back to themselves", () => {
    const wide = toFloat32(new Uint8Array(ALL.buffer), dtype);
    const back = new Uint16Array(fromFloat32(wide, dtype).buffer);
    for (const bits of ALL) {
      const want = definition(bits, exponent, mantissa);
      if (!Object.is(wide[bits], want)) expect.fail(`${dtype} ${bits}: got ${wide[bits]}, want ${want}`);
      const same = Number.isNaN(want) ? bits | quiet : bits; // a NaN becomes quiet
      if (back[bits] !== same) expect.fail(`${dtype} ${bits}: narrowed to ${back[bits]}, want ${same}`);
    }
  });
});

describe("torch's rounding", () => {
  let f32: Float32Array;
  let file: Awaited<ReturnType<typeof openSafetensors>>;
  beforeAll(async () => {
    file = await openSafetensors(bytesSource("rounding", fixtureBytes("rounding.safetensors")));
    f32 = toFloat32(await readTensor(file, "f32"), "F32");
  });

  test.each(["F16", "BF16"] as const)("f32 to %s, ties, subnormals and overflow", async (dtype) => {
    const want = new Uint16Array((await readTensor(file, dtype.toLowerCase())).slice().buffer);
    const got = new Uint16Array(fromFloat32(f32, dtype).buffer);
    expect(f32.length).toBeGreaterThan(2000);
    for (let i = 0; i < f32.length; i++) {
      if (got[i] !== want[i]) expect.fail(`${f32[i]} to ${dtype}: got ${got[i]}, want ${want[i]}`);
    }
  });

  test("f64 to f32", async () => {
    const got = toFloat32(await readTensor(file, "f64"), "F64");
    expect(got).toEqual(toFloat32(await readTensor(file, "f64_as_f32"), "F32"));
  });

  test("NaN keeps its sign and stays NaN, even where rounding would carry into infinity", () => {
    const nans = new Float32Array(
      Uint32Array.of(0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000).buffer,
    );
    for (const dtype of ["F16", "BF16"] as const) {
      const bytes = fromFloat32(nans, dtype);
      expect([...toFloat32(bytes, dtype)].every(Number.isNaN)).toBe(true);
      expect([...new Uint16Array(bytes.buffer)].map((b) => b >>> 15)).toEqual([0, 0, 1, 1, 0]);
    }
  });
});

test("bytes at an odd alignment and views of a larger buffer", () => {
  const padded = new Uint8Array(9);
  padded.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 1);
  expect(toFloat32(padded.subarray(1), "F32")).toEqual(Float32Array.of(1.5, -2));
  const view = new Float32Array(Float32Array.of(9, 1.5, 9).buffer, 4, 1);
  for (const dtype of ["F64", "F32", "F16", "BF16"] as const) {
    expect(toFloat32(fromFloat32(view, dtype), dtype)).toEqual(Float32Array.of(1.5));
  }
});

test("refusals: an integer dtype, a length that is not a multiple of the element size", async () => {
  expect((await refusal(() => toFloat32(new Uint8Array(4), "I32"))).message).toBe(
    "bytes: dtype: expected F32, F16, BF16 or F64, got I32",
  );
  expect((await refusal(() => toFloat32(new Uint8Array(5), "F32", "a"))).message).toBe(
    "a: F32: expected a multiple of 4 bytes, got 5",
  );
});
