import { fromFloat32, toFloat32 } from "./dtypes.js";

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

function toF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bytes = fromFloat32(values, "F16");
  return new Uint16Array(bytes.slice().buffer);
}

function roundedToF16(values: Float32Array): Float32Array {
  return toFloat32(fromFloat32(values, "F16"), "F16");
}

/**
 * Rounds weights to 8 bits with an f16 scale for each 32 of them: the largest magnitude becomes ±127.
 * @param values  [n] f32, n a multiple of 32
 * @source ggml Q8_0; here a value is divided by the rounded scale, which halves the scale's share of the error
 */
export function quantizeQ8(values: Float32Array): Q8Weights {
  const blocks = values.length / q8Block;
  const exact = new Float32Array(blocks);
  for (let b = 0; b < blocks; b++) {
    let largest = 0;
    for (let i = b * q8Block; i < (b + 1) * q8Block; i++) largest = Math.max(largest, Math.abs(values[i]));
    exact[b] = largest / 127;
  }
  const rounded = roundedToF16(exact);
  const quants = new Int8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const scale = rounded[Math.floor(i / q8Block)];
    quants[i] = scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(values[i] / scale)));
  }
  return { quants, scales: toF16(exact) };
}

/**
 * Rounds weights to 4 bits in blocks of 256: eight parts of 32, each with a 6-bit scale and a 6-bit minimum in units of the
 * block's two f16 factors. value = d · scale · quant − dmin · minimum.
 * @param values  [n] f32, n a multiple of 256
 * @returns       [n / 256 · 144] bytes
 * @source ggml Q4_K
 */
export function quantizeQ4(values: Float32Array): Uint8Array<ArrayBuffer> {
  const blocks = values.length / q4Block;
  const { scales, minima } = partRanges(values);
  const factors = new Float32Array(2 * blocks); // d and dmin of each block
  for (let b = 0; b < blocks; b++) {
    factors[2 * b] = largest(scales, b * parts) / 63;
    factors[2 * b + 1] = largest(minima, b * parts) / 63;
  }
  const rounded = roundedToF16(factors);
  const bytes = new Uint8Array(blocks * q4BlockBytes);
  const stored = new Uint8Array(toF16(factors).buffer);
  for (let b = 0; b < blocks; b++) {
    const block = bytes.subarray(b * q4BlockBytes, (b + 1) * q4BlockBytes);
    block.set(stored.subarray(4 * b, 4 * b + 4));
    for (let p = 0; p < parts; p++) {
      const at = b * parts + p;
      const weights = values.subarray(at * partLength, (at + 1) * partLength);
      packPart(block, p, weights, {
        scale: scales[at],
        minimum: minima[at],
        d: rounded[2 * b],
        dmin: rounded[2 * b + 1],
      });
    }
  }
  return bytes;
}

const parts = 8; // of a block
const partLength = 32;

/** Of each 32 weights: the step of 15 that spans them and 0, and how far below 0 they reach. */
function partRanges(values: Float32Array): { scales: Float32Array; minima: Float32Array } {
  const count = values.length / partLength;
  const scales = new Float32Array(count);
  const minima = new Float32Array(count);
  for (let p = 0; p < count; p++) {
    let low = 0;
    let high = -Infinity;
    for (let i = p * partLength; i < (p + 1) * partLength; i++) {
      low = Math.min(low, values[i]);
      high = Math.max(high, values[i]);
    }
    scales[p] = Math.max(high - low, 0) / 15;
    minima[p] = -low;
  }
  return { scales, minima };
}

function largest(values: Float32Array, start: number): number {
  let most = 0;
  for (let i = start; i < start + parts; i++) most = Math.max(most, values[i]);
  return most;
}

interface PartRange {
  readonly scale: number;
  readonly minimum: number;
  readonly d: number;
  readonly dmin: number;
}

function packPart(
  block: Uint8Array,
  p: number,
  weights: Float32Array,
  { scale, minimum, d, dmin }: PartRange,
): void {
  const s = d === 0 ? 0 : Math.min(63, Math.round(scale / d));
  const m = dmin === 0 ? 0 : Math.min(63, Math.round(minimum / dmin));
  packScale(block, p, s, m);
  const shift = 4 * (p & 1);
  const at = 16 + (p >> 1) * partLength;
  const step = d * s;
  for (let i = 0; i < partLength; i++) {
    const quant = step === 0 ? 0 : Math.round((weights[i] + dmin * m) / step);
    block[at + i] |= Math.max(0, Math.min(15, quant)) << shift;
  }
}

/** 6-bit scale and minimum of part p into the 12 bytes that follow the two factors. */
function packScale(bytes: Uint8Array, p: number, s: number, m: number): void {
  if (p < 4) {
    bytes[4 + p] |= s;
    bytes[8 + p] |= m;
  } else {
    bytes[8 + p] = (s & 15) | ((m & 15) << 4);
    bytes[p] |= (s >> 4) << 6;
    bytes[4 + p] |= (m >> 4) << 6;
  }
}
