import { checkpointError } from "./errors.js";

/**
 * Bits an element, for every dtype of safetensors 0.8.
 * @source safetensors `tensor.rs`, `Dtype::bitsize`
 */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/** A safetensors dtype, spelled as in the file. */
export type Dtype = keyof typeof DTYPE_BITS;

/** The float dtypes that convert to and from f32 here. */
export type FloatDtype = "F64" | "F32" | "F16" | "BF16";

export function isDtype(name: unknown): name is Dtype {
  return typeof name === "string" && Object.hasOwn(DTYPE_BITS, name);
}

/** @param dtype  of safetensors, or a block type of GGUF, which is not a float */
export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" || dtype === "F64";
}

/**
 * Little-endian bytes → f32. F16, BF16 and F32 keep their value (NaN payloads too); F64 is rounded
 * to the nearest, ties to even.
 * @param bytes  [n × element size], at any alignment
 * @param into   space for at least n values, used for 16-bit dtypes
 * @returns      [n] f32, a copy
 * @throws CheckpointError  not a float dtype of at least 16 bits, or not a whole number of elements
 */
export function toFloat32(
  bytes: Uint8Array,
  dtype: string,
  file = "bytes",
  into?: Float32Array,
): Float32Array {
  if (!isFloatDtype(dtype)) throw checkpointError(file, "dtype", "F32, F16, BF16 or F64", dtype);
  const size = DTYPE_BITS[dtype] / 8;
  if (bytes.byteLength % size !== 0) {
    const expected = `a multiple of ${size} bytes`;
    throw checkpointError(file, dtype, expected, bytes.byteLength);
  }
  if (dtype === "F32") return new Float32Array(bytes.slice().buffer);
  if (dtype === "F64") return Float32Array.from(new Float64Array(bytes.slice().buffer));
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const halves = new Uint16Array(even.buffer, even.byteOffset, even.byteLength / 2);
  const out = into
    ? new Uint32Array(into.buffer, into.byteOffset, halves.length)
    : new Uint32Array(halves.length);
  if (dtype === "BF16") {
    for (let i = 0; i < out.length; i++) out[i] = halves[i] << 16;
  } else {
    const table = halfTable();
    for (let i = 0; i < out.length; i++) out[i] = table[halves[i]];
  }
  return new Float32Array(out.buffer, out.byteOffset, out.length);
}

/**
 * f32 → little-endian bytes, rounded to the nearest, ties to even, as torch's `.to(dtype)`.
 * Overflow gives infinity, NaN stays NaN.
 * @param values  [n] f32
 * @returns       [n × element size] bytes, a copy
 */
export function fromFloat32(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.slice().buffer);
  if (dtype === "F64") return new Uint8Array(Float64Array.from(values).buffer);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(bits.length);
  const narrow = dtype === "BF16" ? bfloatBits : halfBits;
  for (let i = 0; i < out.length; i++) out[i] = narrow(bits[i]);
  return new Uint8Array(out.buffer);
}

/** f32 bits → bf16 bits. A NaN becomes quiet, because rounding could carry it into infinity. */
function bfloatBits(x: number): number {
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40;
  return (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
}

/** f32 bits → f16 bits, rounded to the nearest, ties to even. */
export function halfBits(x: number): number {
  const sign = (x >>> 16) & 0x8000;
  const a = x & 0x7fffffff;
  if (a > 0x7f800000) return sign | 0x7e00 | ((a >>> 13) & 0x3ff); // NaN, made quiet
  if (a >= 0x47800000) return sign | 0x7c00; // 65536 and above; from 65520 on, rounding carries into infinity
  if (a < 0x33000000) return sign; // below 2^-25, half of the smallest subnormal
  if (a >= 0x38800000) return sign | roundShift(a - 0x38000000, 13);
  return sign | roundShift((a & 0x7fffff) | 0x800000, 126 - (a >>> 23)); // subnormal: a multiple of 2^-24
}

/** x / 2^shift, rounded to the nearest, ties to even. */
function roundShift(x: number, shift: number): number {
  const q = x >>> shift;
  const rest = x - (q << shift);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && (q & 1) === 1) ? q + 1 : q;
}

/** The value of each of the 65,536 f16 patterns. */
export function halfValues(): Float32Array {
  return new Float32Array(halfTable().buffer);
}

let halves: Uint32Array | undefined;

/** f32 bits of each of the 65,536 f16 patterns, computed at first use. */
function halfTable(): Uint32Array {
  halves ??= Uint32Array.from({ length: 0x10000 }, (_, h) => {
    const sign = (h & 0x8000) << 16;
    const exponent = (h >>> 10) & 0x1f;
    const mantissa = h & 0x3ff;
    if (exponent === 0x1f) return sign | 0x7f800000 | (mantissa << 13);
    if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
    if (mantissa === 0) return sign;
    const shift = Math.clz32(mantissa) - 21; // brings the leading 1 to bit 10
    return sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
  });
  return halves;
}
