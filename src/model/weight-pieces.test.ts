import { describe, expect, test } from "vitest";
import { convertPiece } from "./weight-pieces.js";

// Plan: finite values that a format with f16 in it cannot hold are refused by the tensor's name; the largest that it holds, and values
// that are infinite in the file, pass.
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

  test.each(["f32", "bf16"] as const)("%s holds every finite value", (format) => {
    expect(() => convertPiece(bytes(1e30), "F32", format)).not.toThrow();
  });
});
