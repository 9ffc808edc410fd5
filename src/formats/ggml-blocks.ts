import { GGML_BLOCKS, type GgmlType, isGgmlType } from "./container.js";
import { type Dtype, toFloat32 } from "./dtypes.js";
import { checkpointError } from "./errors.js";
import type { Q8Weights } from "./quantize.js";

/**
 * Blocks → f32, bit for bit as ggml. A product of an f16 scale, a 6-bit or 8-bit sub-scale and a
 * quantised value has at most 24 significant bits and is in f32's range. A sum of two products, or
 * of a product and an f16, fits in f64. So only the store rounds, as in ggml's f32 arithmetic.
 * @param bytes  [n × bytes of a block], at any alignment
 * @returns      [n × values of a block] f32
 * @throws CheckpointError  not a whole number of blocks
 * @source ggml `ggml-quants.c`, dequantize_row_*; gguf (Python) `quants.py`
 */
export function dequantizeBlocks(bytes: Uint8Array, type: GgmlType, file = "bytes"): Float32Array {
  const block = GGML_BLOCKS[type];
  const count = bytes.byteLength / block.bytes;
  if (!Number.isInteger(count)) {
    const expected = `a multiple of ${block.bytes} bytes`;
    throw checkpointError(file, type, expected, bytes.byteLength);
  }
  const out = new Float32Array(count * block.values);
  const unpack = UNPACK[type];
  for (let i = 0; i < count; i++) unpack(bytes, i * block.bytes, out, i * block.values);
  return out;
}

/** Stored values, floats or blocks, → f32. */
export function storedToFloat32(bytes: Uint8Array, dtype: Dtype | GgmlType, file?: string): Float32Array {
  return isGgmlType(dtype) ? dequantizeBlocks(bytes, dtype, file) : toFloat32(bytes, dtype, file);
}

type Unpack = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const UNPACK: Readonly<Record<GgmlType, Unpack>> = {
  Q4_0: (bytes, at, out, to) => unpackPlain(bytes, at, out, to, PLAIN.Q4_0),
  Q4_1: (bytes, at, out, to) => unpackPlain(bytes, at, out, to, PLAIN.Q4_1),
  Q5_0: (bytes, at, out, to) => unpackPlain(bytes, at, out, to, PLAIN.Q5_0),
  Q5_1: (bytes, at, out, to) => unpackPlain(bytes, at, out, to, PLAIN.Q5_1),
  Q8_0: unpackQ8,
  Q4_K: (bytes, at, out, to) => unpackRuns(bytes, at, out, to, 0),
  Q5_K: (bytes, at, out, to) => unpackRuns(bytes, at, out, to, 32),
  Q6_K: unpackQ6,
};

let halves: Float32Array | undefined;

/** The f16 at `at`. */
function half(bytes: Uint8Array, at: number): number {
  halves ??= toFloat32(new Uint8Array(Uint16Array.from({ length: 0x10000 }, (_, i) => i).buffer), "F16");
  return halves[bytes[at] | (bytes[at + 1] << 8)];
}

/** Byte offsets of the parts of a block of 32 with one scale. The f16 scale d is first. */
interface Plain {
  /** f16 m: y = d q + m. Absent: y = d (q - zero). */
  readonly minimum?: number;
  readonly zero: number;
  /** u32: bit i is bit 4 of value i. Absent: 4 bits. */
  readonly high?: number;
  /** u8[16]: the low nibbles are values 0 to 15, the high ones 16 to 31. */
  readonly nibbles: number;
}

const PLAIN = {
  Q4_0: { zero: 8, nibbles: 2 },
  Q4_1: { minimum: 2, zero: 0, nibbles: 4 },
  Q5_0: { zero: 16, high: 2, nibbles: 6 },
  Q5_1: { minimum: 2, zero: 0, high: 4, nibbles: 8 },
} as const satisfies Partial<Record<GgmlType, Plain>>;

/** The 32 integers q - zero of a block. */
function plainQuants(
  bytes: Uint8Array,
  at: number,
  { zero, high, nibbles }: Plain,
  out: Int8Array,
  to: number,
): void {
  let bits = 0;
  if (high !== undefined) for (let i = 0; i < 4; i++) bits |= bytes[at + high + i] << (8 * i);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + nibbles + i];
    out[to + i] = ((pair & 15) | (((bits >> i) & 1) << 4)) - zero;
    out[to + 16 + i] = ((pair >> 4) | (((bits >> (i + 16)) & 1) << 4)) - zero;
  }
}

const quants = new Int8Array(32);

function unpackPlain(bytes: Uint8Array, at: number, out: Float32Array, to: number, plain: Plain): void {
  const d = half(bytes, at);
  plainQuants(bytes, at, plain, quants, 0);
  const m = plain.minimum === undefined ? -0 : half(bytes, at + plain.minimum); // x + -0 is x, also for -0
  for (let i = 0; i < 32; i++) out[to + i] = d * quants[i] + m;
}

/**
 * Blocks without a minimum → q8: y = scale · quant. Scales keep their bits and values stay equal.
 * @param bytes  [n × bytes of a block]
 * @returns      quants [n × 32], scales [n] f16 bits
 */
export function centredBlocks(bytes: Uint8Array, type: "Q4_0" | "Q5_0"): Q8Weights {
  const size = GGML_BLOCKS[type].bytes;
  const count = bytes.byteLength / size;
  const result = { quants: new Int8Array(count * 32), scales: new Uint16Array(count) };
  for (let i = 0; i < count; i++) {
    result.scales[i] = bytes[i * size] | (bytes[i * size + 1] << 8);
    plainQuants(bytes, i * size, PLAIN[type], result.quants, i * 32);
  }
  return result;
}

/** { f16 d; i8 q[32] }: y = d q */
function unpackQ8(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = half(bytes, at);
  for (let i = 0; i < 32; i++) out[to + i] = d * ((bytes[at + 2 + i] << 24) >> 24);
}

/**
 * Q4_K: { f16 d, dmin; u8 scales[12]; u8 q[128] }. Each of eight runs of 32 has a 6-bit scale s and
 * minimum m: y = d s q - dmin m. Runs 2j and 2j + 1 are the low and the high nibbles of
 * q[32 j ...]. Q5_K also has u8 qh[32] before q: bit r of qh[i] is bit 4 of value i of run r.
 */
function unpackRuns(bytes: Uint8Array, at: number, out: Float32Array, to: number, highBytes: 0 | 32): void {
  const d = half(bytes, at);
  const dmin = half(bytes, at + 2);
  const high = at + 16;
  for (let run = 0; run < 8; run++) {
    const scale = d * sixBits(bytes, at + 4, run, 0);
    const minimum = dmin * sixBits(bytes, at + 4, run, 4);
    const from = high + highBytes + (run >> 1) * 32;
    const shift = (run & 1) * 4;
    for (let i = 0; i < 32; i++) {
      const fifth = highBytes === 0 ? 0 : ((bytes[high + i] >> run) & 1) << 4;
      out[to++] = scale * (((bytes[from + i] >> shift) & 15) | fifth) - minimum;
    }
  }
}

/**
 * Scale (kind 0) or minimum (kind 4) of a run. Runs 0..3 have it in one of the first 8 bytes. Runs
 * 4..7 have four bits in a nibble of the last 4 bytes, and two in the top bits of the byte 4
 * before.
 */
function sixBits(bytes: Uint8Array, at: number, run: number, kind: 0 | 4): number {
  if (run < 4) return bytes[at + run + kind] & 63;
  return ((bytes[at + run + 4] >> kind) & 15) | ((bytes[at + run - 4 + kind] >> 6) << 4);
}

/**
 * { u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d }: y = d s (q - 32), with one scale for 16 values.
 * In each half of 128 values, run r of 32 has its low bits in the nibbles (low for r < 2) of ql[32
 * (r mod 2) ...], and its two high bits at bit 2r of qh[0 ... 31].
 */
function unpackQ6(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = half(bytes, at + 208);
  for (let sixteen = 0; sixteen < 16; sixteen++) {
    const run = (sixteen >> 1) & 3;
    const part = sixteen >> 3;
    const start = (sixteen & 1) * 16;
    const scale = d * ((bytes[at + 192 + sixteen] << 24) >> 24);
    const low = at + part * 64 + (run & 1) * 32 + start;
    const high = at + 128 + part * 32 + start;
    const shift = (run >> 1) * 4;
    for (let i = 0; i < 16; i++) {
      const q = ((bytes[low + i] >> shift) & 15) | (((bytes[high + i] >> (2 * run)) & 3) << 4);
      out[to++] = scale * (q - 32);
    }
  }
}
