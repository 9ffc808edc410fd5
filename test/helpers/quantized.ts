import { type Q8Weights, quantizeQ4, quantizeQ8 } from "../../src/formats/quantize.js";
import type { Gpu } from "../../src/gpu/device.js";
import { type Matrix, keepMatrix, writeMatrix, writeScales } from "../../src/gpu/matrix.js";

/** Seeded normal values (Box-Muller over mulberry32). */
export function normals(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** f16 bits → value. */
export function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa > 0 ? NaN : bits & 0x8000 ? -Infinity : Infinity;
  const size = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

/** q8 weights in double precision. */
export function unpackQ8({ quants, scales }: Q8Weights): Float64Array {
  return Float64Array.from(quants, (quant, i) => quant * half(scales[i >> 5]));
}

/** Q4_K blocks in double precision, by ggml's definition. */
export function unpackQ4(bytes: Uint8Array): Float64Array {
  const out = new Float64Array((bytes.length / 144) * 256);
  for (let b = 0; b < bytes.length / 144; b++) {
    const block = bytes.subarray(144 * b, 144 * b + 144);
    const d = half(block[0] | (block[1] << 8));
    const dmin = half(block[2] | (block[3] << 8));
    const packed = block.subarray(4, 16);
    for (let p = 0; p < 8; p++) {
      const scale = p < 4 ? packed[p] & 63 : (packed[p + 4] & 15) | ((packed[p - 4] >> 6) << 4);
      const minimum = p < 4 ? packed[p + 4] & 63 : (packed[p + 4] >> 4) | ((packed[p] >> 6) << 4);
      for (let i = 0; i < 32; i++) {
        const byte = block[16 + (p >> 1) * 32 + i];
        const quant = p & 1 ? byte >> 4 : byte & 15;
        out[256 * b + 32 * p + i] = d * scale * quant - dmin * minimum;
      }
    }
  }
  return out;
}

/** Relative RMS difference. */
export function relativeRms(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < want.length; i++) {
    error += (got[i] - want[i]) ** 2;
    norm += want[i] ** 2;
  }
  return Math.sqrt(error / norm);
}

/** A kept weight matrix rounded to q8 or q4, and what its weights are then. */
export function keepQuantized(
  gpu: Gpu,
  data: Float32Array,
  [rows, columns]: readonly [number, number],
  format: "q8" | "q4",
): { matrix: Matrix; rounded: Float64Array } {
  const matrix = keepMatrix(gpu, rows, columns, format);
  if (format === "q4") {
    const bytes = quantizeQ4(data);
    writeMatrix(gpu, matrix, bytes);
    return { matrix, rounded: unpackQ4(bytes) };
  }
  const weights = quantizeQ8(data);
  writeMatrix(gpu, matrix, new Uint8Array(weights.quants.buffer));
  const scales = new Uint8Array(Math.ceil(weights.scales.byteLength / 4) * 4);
  scales.set(new Uint8Array(weights.scales.buffer));
  writeScales(gpu, matrix, scales);
  return { matrix, rounded: unpackQ8(weights) };
}
