import { halfBits, halfValues } from "./dtypes.js";

/** Weights that share one scale in q8. */
const q8Block = 32;
/** Weights of one q4 block, and its bytes. */
const q4Block = 256;
export const q4BlockBytes = 144;

/** q8 weights: value = quant · scale of its 32. */
export interface Q8Weights {
  /** [n] */
  readonly quants: Int8Array<ArrayBuffer>;
  /** [n / 32] f16 bits */
  readonly scales: Uint16Array<ArrayBuffer>;
}

const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);

/** A number rounded to f32, then to f16: its bits. */
function toHalf(value: number): number {
  single[0] = value;
  return halfBits(singleBits[0]);
}

function fromBits(bits: number): number {
  singleBits[0] = bits;
  return single[0];
}

/** The bits of f32 values, which compare by magnitude if the sign is the same. */
function bitsOf(values: Float32Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.length);
}

/**
 * Rounds weights to 8 bits with an f16 scale for each 32 of them. The largest magnitude becomes
 * ±127. If the scale is not finite, all quants are 0 and every product is NaN.
 * @param values  [n] f32, n a multiple of 32
 * @source ggml Q8_0. Here a value is divided by the rounded scale, which halves the scale's share
 *   of the error.
 */
export function quantizeQ8(values: Float32Array): Q8Weights {
  const half = halfValues();
  const bits = bitsOf(values);
  const blocks = values.length / q8Block;
  const quants = new Int8Array(values.length);
  const scales = new Uint16Array(blocks);
  for (let b = 0; b < blocks; b++) {
    const start = b * q8Block;
    const end = start + q8Block;
    let largest = 0;
    for (let i = start; i < end; i++) {
      const magnitude = bits[i] & 0x7fffffff;
      if (magnitude > largest) largest = magnitude;
    }
    scales[b] = toHalf(fromBits(largest) / 127);
    const scale = half[scales[b]];
    if (scale === 0 || !Number.isFinite(scale)) continue;
    const inverse = 1 / scale;
    for (let i = start; i < end; i++) {
      const quant = ((values[i] * inverse + nearest) | 0) - 128;
      quants[i] = quant > 127 ? 127 : quant < -127 ? -127 : quant;
    }
  }
  return { quants, scales };
}

/**
 * Added before truncation, it gives the nearest integer + 128, halves upwards. The 2^-30 undoes the
 * reciprocal's rounding at a half: any other quotient of an f32 by an f16 is at least 2^-25 away
 * from a half.
 */
const nearest = 128.5 + 2 ** -30;

const parts = 8; // of a q4 block
const partLength = 32;

/**
 * Rounds weights to 4 bits in blocks of 256. A block has eight parts of 32, each with a 6-bit scale
 * and a 6-bit minimum in units of the block's two f16 factors: value = d · scale · quant − dmin ·
 * minimum. If a part's minimum is less than half a step, as beside one large value, small values
 * decode to the minimum. It is then 0, unless it lowers their squared error.
 * @param values  [n] f32, n a multiple of 256
 * @returns       [n / 256 · 144] bytes
 * @source ggml Q4_K
 */
export function quantizeQ4(values: Float32Array): Uint8Array<ArrayBuffer> {
  const half = halfValues();
  const bits = bitsOf(values);
  const blocks = values.length / q4Block;
  const bytes = new Uint8Array(blocks * q4BlockBytes);
  const steps = new Float32Array(parts);
  const lifts = new Float32Array(parts);
  for (let b = 0; b < blocks; b++) {
    const at = b * q4BlockBytes;
    for (let p = 0; p < parts; p++) {
      const start = b * q4Block + p * partLength;
      const low = lowest(bits, start);
      steps[p] = Math.max(highest(bits, start) - low, 0) / 15;
      lifts[p] = -low;
    }
    const [dBits, dminBits] = [toHalf(largest(steps) / 63), toHalf(largest(lifts) / 63)];
    bytes[at] = dBits & 255;
    bytes[at + 1] = dBits >> 8;
    bytes[at + 2] = dminBits & 255;
    bytes[at + 3] = dminBits >> 8;
    const d = half[dBits];
    const dmin = half[dminBits];
    for (let p = 0; p < parts; p++) {
      const s = d === 0 ? 0 : Math.min(63, Math.floor(steps[p] / d + 0.5));
      let m = dmin === 0 ? 0 : Math.min(63, Math.floor(lifts[p] / dmin + 0.5));
      const start = b * q4Block + p * partLength;
      if (2 * dmin * m < (d * s || Infinity) && !nearerThanZero(values, start, d * s, dmin * m)) m = 0;
      packScale(bytes, at, p, s, m);
      steps[p] = d * s;
      lifts[p] = dmin * m;
    }
    for (let p = 0; p < parts; p += 2) {
      const start = b * q4Block + p * partLength;
      const to = at + 16 + (p >> 1) * partLength;
      packParts(values, start, bytes, to, { steps, lifts, p });
    }
  }
  return bytes;
}

/**
 * Whether the constant −lift has a smaller squared error than 0, over the values of a part that
 * decode to it: those below half a step, or all without a step.
 */
function nearerThanZero(values: Float32Array, start: number, step: number, lift: number): boolean {
  const end = (step || Infinity) / 2 - lift;
  let sum = 0;
  let count = 0;
  for (let i = start; i < start + partLength; i++) {
    if (values[i] >= end) continue;
    sum += values[i];
    count++;
  }
  return 2 * sum + count * lift < 0;
}

/** The least of 32 values and 0; NaN if one is a negative NaN. */
function lowest(bits: Int32Array, start: number): number {
  let most = -1;
  for (let i = start; i < start + partLength; i++) {
    const magnitude = bits[i] ^ 0x80000000; // of a negative value; below 0 for others
    if (magnitude > most) most = magnitude;
  }
  return most < 0 ? 0 : fromBits(most ^ 0x80000000);
}

/** The largest of 32 values. A positive NaN counts as the largest. */
function highest(bits: Int32Array, start: number): number {
  let most = -1;
  for (let i = start; i < start + partLength; i++) if (bits[i] > most) most = bits[i];
  if (most >= 0) return fromBits(most);
  let least = 0xffffffff; // all are negative: find the least magnitude
  for (let i = start; i < start + partLength; i++) least = Math.min(least, bits[i] >>> 0);
  return fromBits(least);
}

function largest(values: Float32Array): number {
  let most = 0;
  for (let i = 0; i < parts; i++) most = Math.max(most, values[i]);
  return most;
}

/** Steps and lifts of a block's parts: value = step · quant − lift. The pair is p and p + 1. */
interface PartPair {
  readonly steps: Float32Array;
  readonly lifts: Float32Array;
  readonly p: number;
}

/** Writes 32 quants to the low nibbles of 32 bytes, and the next 32 to the high nibbles. */
function packParts(
  values: Float32Array,
  start: number,
  bytes: Uint8Array,
  to: number,
  { steps, lifts, p }: PartPair,
): void {
  const step = steps[p] || Infinity; // without a step, quants are 0
  const nextStep = steps[p + 1] || Infinity;
  const lift = lifts[p];
  const nextLift = lifts[p + 1];
  for (let i = 0; i < partLength; i++) {
    const low = ((values[start + i] + lift) / step + 0.5) | 0;
    const high = ((values[start + partLength + i] + nextLift) / nextStep + 0.5) | 0;
    bytes[to + i] = (low > 15 ? 15 : low < 0 ? 0 : low) | ((high > 15 ? 15 : high < 0 ? 0 : high) << 4);
  }
}

/** Writes scale and minimum of part p to the 12 bytes after the two factors of the block. */
function packScale(bytes: Uint8Array, at: number, p: number, s: number, m: number): void {
  if (p < 4) {
    bytes[at + 4 + p] |= s;
    bytes[at + 8 + p] |= m;
  } else {
    bytes[at + 8 + p] = (s & 15) | ((m & 15) << 4);
    bytes[at + p] |= (s >> 4) << 6;
    bytes[at + 4 + p] |= (m >> 4) << 6;
  }
}
