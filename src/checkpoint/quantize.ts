import { halfBits, halfValues } from "./dtypes.js";

/** Weights that share one scale in q8. */
export const q8Block = 32;
/** Weights of one q4 block, and its bytes. */
export const q4Block = 256;
export const q4BlockBytes = 144;

/** q8 weights: value = quant · scale of its 32. */
export interface Q8Weights {
  /** [n] */
  readonly quants: Int8Array<ArrayBuffer>;
  /** [n / 32] f16 bits */
  readonly scales: Uint16Array<ArrayBuffer>;
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** A number rounded to f32, then to f16: its bits. */
function toHalf(value: number): number {
  single[0] = value;
  return halfBits(singleBits[0]);
}

/**
 * Rounds weights to 8 bits with an f16 scale for each 32 of them: the largest magnitude becomes ±127.
 * @param values  [n] f32, n a multiple of 32
 * @source ggml Q8_0; here a value is divided by the rounded scale, which halves the scale's share of the error
 */
export function quantizeQ8(values: Float32Array): Q8Weights {
  const half = halfValues();
  const blocks = values.length / q8Block;
  const quants = new Int8Array(values.length);
  const scales = new Uint16Array(blocks);
  for (let b = 0, start = 0; b < blocks; b++, start += q8Block) {
    const end = start + q8Block;
    let largest = 0;
    for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]));
    const bits = toHalf(largest / 127);
    scales[b] = bits;
    const scale = half[bits];
    if (scale === 0) continue;
    for (let i = start; i < end; i++) {
      quants[i] = Math.max(-127, Math.min(127, Math.floor(values[i] / scale + 0.5)));
    }
  }
  return { quants, scales };
}

const parts = 8; // of a q4 block
const partLength = 32;

/**
 * Rounds weights to 4 bits in blocks of 256: eight parts of 32, each with a 6-bit scale and a 6-bit minimum in units of the
 * block's two f16 factors. value = d · scale · quant − dmin · minimum.
 * @param values  [n] f32, n a multiple of 256
 * @returns       [n / 256 · 144] bytes
 * @source ggml Q4_K
 */
export function quantizeQ4(values: Float32Array): Uint8Array<ArrayBuffer> {
  const half = halfValues();
  const blocks = values.length / q4Block;
  const bytes = new Uint8Array(blocks * q4BlockBytes);
  const ranges: Ranges = { steps: new Float32Array(parts), minima: new Float32Array(parts) };
  for (let b = 0; b < blocks; b++) {
    const at = b * q4BlockBytes;
    findRanges(values, b * q4Block, ranges);
    const dBits = toHalf(largest(ranges.steps) / 63);
    const dminBits = toHalf(largest(ranges.minima) / 63);
    bytes[at] = dBits & 255;
    bytes[at + 1] = dBits >> 8;
    bytes[at + 2] = dminBits & 255;
    bytes[at + 3] = dminBits >> 8;
    const d = half[dBits];
    const dmin = half[dminBits];
    for (let p = 0; p < parts; p++) {
      const s = d === 0 ? 0 : Math.min(63, Math.floor(ranges.steps[p] / d + 0.5));
      const m = dmin === 0 ? 0 : Math.min(63, Math.floor(ranges.minima[p] / dmin + 0.5));
      packScale(bytes, at, p, s, m);
      packPart(values, b * q4Block + p * partLength, { bytes, at, p, step: d * s, lift: dmin * m });
    }
  }
  return bytes;
}

/** Of each 32 weights of a block: the step of 15 that spans them and 0, and how far below 0 they reach. */
interface Ranges {
  readonly steps: Float32Array;
  readonly minima: Float32Array;
}

function findRanges(values: Float32Array, start: number, { steps, minima }: Ranges): void {
  for (let p = 0, i = start; p < parts; p++) {
    let low = 0;
    let high = -Infinity;
    for (const end = i + partLength; i < end; i++) {
      low = Math.min(low, values[i]);
      high = Math.max(high, values[i]);
    }
    steps[p] = Math.max(high - low, 0) / 15;
    minima[p] = -low;
  }
}

function largest(values: Float32Array): number {
  let most = 0;
  for (let i = 0; i < parts; i++) most = Math.max(most, values[i]);
  return most;
}

/** Where the quants of part p go, in the block that begins at `at`, and what they count: value = step · quant − lift. */
interface Part {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly p: number;
  readonly step: number;
  readonly lift: number;
}

function packPart(values: Float32Array, start: number, { bytes, at, p, step, lift }: Part): void {
  if (step === 0) return;
  const shift = 4 * (p & 1);
  const to = at + 16 + (p >> 1) * partLength;
  for (let i = 0; i < partLength; i++) {
    const quant = Math.floor((values[start + i] + lift) / step + 0.5);
    bytes[to + i] |= Math.max(0, Math.min(15, quant)) << shift;
  }
}

/** 6-bit scale and minimum of part p into the 12 bytes that follow the two factors of the block at `at`. */
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
