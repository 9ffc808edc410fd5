// Plan: decoded q8 and q4 weights are near the originals. Each error is at most what its step
// allows, and the error over normal weights is the one that NumPy gives for the same scheme.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { normals, relativeRms, unpackQ4, unpackQ8 } from "../../test/helpers/quantized.js";
import { quantizeQ4, quantizeQ8 } from "./quantize.js";

/** 256 of each kind in turn: normal, negative, positive, ties, tiny, huge, zero, whole steps. */
function manyKinds(): Float32Array {
  return normals(1 << 16, 9).map((v, i) => {
    const a = Math.abs(v);
    return [v, -a, a, Math.round(v * 16) / 16, v * 1e-7, v * 1e5, 0, (i % 64) - 31.5][(i >> 8) % 8];
  });
}

const sha256 = (data: ArrayBufferView): string =>
  createHash("sha256").update(new Uint8Array(data.buffer)).digest("hex");

// Plan: 65,536 weights have the bits of plain loops that divide and Math.round each value; no NaN
// or infinity gets lost.
describe("bits", () => {
  test("q8 and q4 have the bits of the plain definition", () => {
    const { quants, scales } = quantizeQ8(manyKinds());
    expect([quants, scales, quantizeQ4(manyKinds())].map(sha256)).toEqual([
      "2076c4744dd081ded63d304fd2dd03891bd0568fc173a1e49013aabf7b045c24",
      "da340b417d1ee68f841552c17733072268d98250fb496a9503600ecdf2b91487",
      "a7fe97d9be91c73957c94b3dbaa8e58ef544aedb9d4b5d3cffc174062ac21f06",
    ]);
  });

  test.each([NaN, -NaN, Infinity, -Infinity])("%d leaves no finite value in its block", (special) => {
    for (const index of [256, 287, 356, 511]) {
      const values = normals(512, 3);
      values[index] = special;
      const q8 = unpackQ8(quantizeQ8(values));
      const block = index & ~31;
      expect(q8.subarray(block, block + 32).some(isFinite)).toBe(false);
      expect(q8.subarray(0, 256).every(isFinite)).toBe(true);
      const q4 = unpackQ4(quantizeQ4(values));
      expect(q4.subarray(256).some(isFinite)).toBe(false);
      expect(q4.subarray(0, 256).every(isFinite)).toBe(true);
    }
  });
});

describe("quantizeQ8", () => {
  test("a value is off by half a step, and by the scale's own rounding at the ends", () => {
    const values = normals(32 * 50, 1);
    const back = unpackQ8(quantizeQ8(values));
    for (let b = 0; b < 50; b++) {
      const block = values.subarray(32 * b, 32 * b + 32);
      const step = Math.max(...block.map(Math.abs)) / 127;
      for (const [i, value] of block.entries()) {
        // f16 rounds the scale by 2^-11; at 127 steps that is 0.062 of one
        expect(Math.abs(back[32 * b + i] - value)).toBeLessThanOrEqual(step * 0.57);
      }
    }
  });

  test("normal weights: relative error 5.4e-3", () => {
    const values = normals(32 * 2000, 2);
    expect(relativeRms(unpackQ8(quantizeQ8(values)), values)).toBeCloseTo(5.35e-3, 4);
  });

  test("zeros stay zeros, and the largest of a block of one sign keeps its sign", () => {
    expect(unpackQ8(quantizeQ8(new Float32Array(32)))).toEqual(new Float64Array(32));
    const one = new Float32Array(32).fill(-0.5);
    expect(unpackQ8(quantizeQ8(one)).every((v) => Math.abs(v + 0.5) < 3e-4)).toBe(true);
  });
});

describe("quantizeQ4", () => {
  test("normal weights: relative error 7.8e-2, uniform ones 6.1e-2", () => {
    const values = normals(256 * 200, 3);
    expect(relativeRms(unpackQ4(quantizeQ4(values)), values)).toBeCloseTo(0.0783, 3);
  });

  test("an error is at most half a step of its part and the 6-bit rounding of scale and minimum", () => {
    const values = normals(256 * 20, 4);
    const back = unpackQ4(quantizeQ4(values));
    for (let p = 0; p < values.length; p += 32) {
      const part = values.subarray(p, p + 32);
      const block = values.subarray(p - (p % 256), p - (p % 256) + 256);
      const spread = Math.max(...block) - Math.min(...block, 0);
      const step = (Math.max(...part) - Math.min(...part, 0)) / 15;
      for (const [i, value] of part.entries()) {
        expect(Math.abs(back[p + i] - value)).toBeLessThanOrEqual(step / 2 + (1.5 * spread) / 63);
      }
    }
  });

  test("weights of one sign, zeros, and a part far smaller than its neighbours", () => {
    const positive = normals(256, 5).map((v) => Math.abs(v) + 1);
    expect(relativeRms(unpackQ4(quantizeQ4(positive)), positive)).toBeLessThan(0.06);
    expect(unpackQ4(quantizeQ4(new Float32Array(256)))).toEqual(new Float64Array(256));
    const mixed = normals(256, 6).map((v, i) => (i < 32 ? v * 1e-3 : v));
    expect(Math.max(...unpackQ4(quantizeQ4(mixed)).subarray(0, 32).map(Math.abs))).toBeLessThan(0.05);
  });

  // Plan: one large value rounds the scale of its neighbours to 0, or the weights are below f16's
  // steps. No part is worse than zeros.
  test.each([
    ["one +100 in N(0, 0.02)", (v: number, i: number) => (i === 77 ? 100 : v * 0.02)],
    ["one -100 in N(0, 0.02)", (v: number, i: number) => (i === 77 ? -100 : v * 0.02)],
    ["one +100 beside negative ones", (v: number, i: number) => (i === 77 ? 100 : -Math.abs(v) * 0.02)],
    ["weights near 1e-5", (v: number) => v * 1e-5],
    ["weights near 3e-6", (v: number) => v * 3e-6],
    ["weights near 1e-6", (v: number) => v * 1e-6],
    ["weights near 1e-7", (v: number) => v * 1e-7],
  ])("%s: no part's error is above that of zeros", (_, kind) => {
    const values = normals(256 * 8, 7).map((v, i) => kind(v, i % 256));
    const back = unpackQ4(quantizeQ4(values));
    for (let p = 0; p < values.length; p += 32)
      expect(relativeRms(back.subarray(p, p + 32), values.subarray(p, p + 32))).toBeLessThanOrEqual(1);
  });

  // Plan: in the part of the large value, the other values are no worse than zeros. A large
  // negative value is left out: the others then decode to one level, which f16's rounding of
  // minimum and step moves by up to 2^-11 of the large value.
  test.each([
    ["one +100 in N(0, 0.02)", (v: number, i: number) => (i % 32 === 13 ? 100 : v * 0.02)],
    ["two of them", (v: number, i: number) => (i % 32 === 13 || i % 32 === 20 ? 100 : v * 0.02)],
    ["one +5", (v: number, i: number) => (i % 32 === 13 ? 5 : v * 0.02)],
    ["one +100 in one part of eight", (v: number, i: number) => (i === 77 ? 100 : v * 0.02)],
    ["one +100 in 1e-4", (v: number, i: number) => (i === 77 ? 100 : v * 1e-4)],
  ])("%s: its neighbours' error is at most that of zeros", (_, kind) => {
    const values = normals(256 * 8, 7).map((v, i) => kind(v, i % 256));
    const small = values.map((v) => (v < 1 ? v : 0));
    const back = unpackQ4(quantizeQ4(values)).map((v, i) => (values[i] < 1 ? v : 0));
    for (let p = 0; p < values.length; p += 32)
      expect(relativeRms(back.subarray(p, p + 32), small.subarray(p, p + 32))).toBeLessThanOrEqual(1);
  });

  test("a minimum that lowers the error of negative weights beside a large one is kept", () => {
    const values = normals(256, 8).map((v, i) => (i % 32 === 13 ? 3 : -0.1 + v * 0.01));
    const back = unpackQ4(quantizeQ4(values));
    for (const [i, value] of values.entries())
      if (value < 1) expect(Math.abs(back[i] - value)).toBeLessThan(0.06);
  });

  test("equal negative weights, whose scale is 0, keep their value", () => {
    const values = new Float32Array(256).fill(-0.5);
    expect(relativeRms(unpackQ4(quantizeQ4(values)), values)).toBeLessThan(1e-3);
  });
});
