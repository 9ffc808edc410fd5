import { describe, expect, test } from "vitest";
import { normals, relativeRms, unpackQ4 } from "../../test/helpers/quantized.js";
import { GGML_BLOCKS } from "../formats/container.js";
import { fromFloat32 } from "../formats/dtypes.js";
import { storedToFloat32 } from "../formats/ggml-blocks.js";
import { convertPiece } from "./pieces.js";

// Plan: finite values that overflow a format with f16 are refused by the tensor's name. The largest
// finite value passes, and so does a stored infinity.
describe("overflow", () => {
  const bytes = (...first: number[]): Uint8Array => {
    const values = new Float32Array(512).fill(0.5);
    values.set(first, 300);
    return new Uint8Array(values.buffer);
  };

  test.each([
    ["f16", 65504, 65520, "f16 can hold (at most 65504)"],
    ["f16", -65504, -1e9, "f16 can hold (at most 65504)"],
    ["q8", 8.3e6, 8.4e6, "q8 can hold (an f16 scale of at most 65504)"],
    ["q4", 6e7, 7e7, "q4 can hold (an f16 scale of at most 65504)"],
    ["q4", -4e6, -4.2e6, "q4 can hold (an f16 scale of at most 65504)"],
  ] as const)("%s holds %d, not %d", (format, good, bad, expected) => {
    expect(() => convertPiece(bytes(good), "F32", format, "m", "a.weight")).not.toThrow();
    const got = Math.fround(Math.abs(bad));
    expect(() => convertPiece(bytes(bad), "F32", format, "m", "a.weight")).toThrow(
      `m: tensor "a.weight": expected values that ${expected}, got ${got}; use --weights bf16`,
    );
    expect(() => convertPiece(bytes(bad, Infinity), "F32", format)).not.toThrow();
  });

  // F16 cannot store 1e9
  test.each([
    ["F32", "f16"],
    ["BF16", "f16"],
    ["F32", "q8"],
    ["BF16", "q8"],
    ["F32", "q4"],
    ["BF16", "q4"],
  ] as const)("%s to %s", (dtype, format) => {
    const values = new Float32Array(512).fill(0.5).fill(1e9, 300, 301);
    const got = dtype === "BF16" ? 998244352 : 1e9;
    expect(() => convertPiece(fromFloat32(values, dtype), dtype, format, "m", "a.weight")).toThrow(
      new RegExp(
        `^m: tensor "a\\.weight": expected values that ${format} can hold .*, got ${got}; use --weights bf16$`,
      ),
    );
  });

  test("blocks of GGUF whose values are past f16", () => {
    const blocks = new Uint8Array(8 * 34).fill(0x77);
    for (let i = 0; i < blocks.length; i += 34) blocks.set([0xff, 0x7b], i); // d = 65504, y = 119 d
    expect(() => convertPiece(blocks, "Q8_0", "f16", "m.gguf", "a")).toThrow(
      /^m\.gguf: tensor "a": .*; use --weights bf16$/,
    );
    expect(() => convertPiece(blocks, "Q8_0", "q4", "m.gguf", "a")).not.toThrow();
    expect(() => convertPiece(blocks, "Q8_0", "bf16", "m.gguf", "a")).not.toThrow();
  });

  test.each(["f32", "bf16"] as const)("%s holds every finite value", (format) => {
    expect(() => convertPiece(bytes(1e30), "F32", format)).not.toThrow();
  });
});

// Plan: weights whose 4-bit scales round to 0, stored in every type. No part is worse than zeros.
describe("q4 of small parts", () => {
  const kinds: readonly (readonly [string, (v: number, i: number) => number])[] = [
    ["N(0, 0.02) with one +100", (v, i) => (i % 256 === 77 ? 100 : v * 0.02)],
    ["N(0, 0.02) with one -100", (v, i) => (i % 256 === 77 ? -100 : v * 0.02)],
    ["near 1e-5", (v) => v * 1e-5],
  ];
  test.each(
    kinds.flatMap(([name, kind]) =>
      (["F32", "BF16", "F16"] as const).map((dtype) => [dtype, name, kind] as const),
    ),
  )("%s: %s", (dtype, _, kind) => {
    const bytes = fromFloat32(normals(256 * 8, 7).map(kind), dtype);
    expectNoWorseThanZeros(bytes, dtype);
  });

  test.each(["Q8_0", "Q4_0", "Q5_1"] as const)("%s with one large scale", (type) => {
    const { bytes: size } = GGML_BLOCKS[type];
    const bytes = Uint8Array.from({ length: 64 * size }, (_, i) => Math.imul(i + 1, 2654435761) >>> 13);
    for (let i = 0; i < bytes.length; i += size) {
      bytes[i + 1] = i % (8 * size) === 0 ? 0x50 : 0x04; // 2^5 or 2^-14
      if (type === "Q5_1") bytes.set([0, 0x84], i + 2);
    }
    expectNoWorseThanZeros(bytes, type);
  });

  function expectNoWorseThanZeros(bytes: Uint8Array, dtype: Parameters<typeof convertPiece>[1]): void {
    const values = storedToFloat32(bytes, dtype, "x");
    const back = unpackQ4(convertPiece(bytes, dtype, "q4").weights);
    for (let p = 0; p < values.length; p += 32)
      expect(relativeRms(back.subarray(p, p + 32), values.subarray(p, p + 32))).toBeLessThanOrEqual(1);
  }
});
