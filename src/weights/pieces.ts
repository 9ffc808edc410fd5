import { GGML_BLOCKS, type GgmlType, isGgmlType } from "../formats/container.js";
import { type Dtype, fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { centredBlocks, dequantizeBlocks } from "../formats/ggml-blocks.js";
import { type CheckpointError, checkpointError, tensorField } from "../formats/errors.js";
import { type Q8Weights, q4BlockBytes, quantizeQ4, quantizeQ8 } from "../formats/quantize.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";

/** Part of a matrix in its GPU format; lengths are multiples of 4 bytes. */
export interface WeightPiece {
  readonly weights: Uint8Array<ArrayBuffer>;
  /** q8 only. */
  readonly scales?: Uint8Array<ArrayBuffer>;
}

/** The default format of each stored type. Q4_1, Q5_1, Q5_K and Q6_K are rounded to q8. */
const defaultFormat: Partial<Record<Dtype | GgmlType, WeightFormat>> = {
  F32: "f32",
  BF16: "bf16",
  F16: "f16",
  Q8_0: "q8",
  Q4_0: "q8",
  Q5_0: "q8",
  Q4_1: "q8",
  Q5_1: "q8",
  Q6_K: "q8",
  Q5_K: "q8",
  Q4_K: "q4",
};

const dtypeOf = { f32: "F32", bf16: "BF16", f16: "F16" } as const;

/**
 * The format of a matrix on the GPU: `wanted`, or the default of its stored type. Rows that are not
 * a whole number of its blocks (the stem's 560 columns in q8, the adaptor's narrow rows in q4) take
 * the next finer format: q4, q8, bf16.
 * @returns undefined for a stored type that is not a weight type
 */
export function weightFormat(
  dtype: Dtype | GgmlType,
  columns: number,
  wanted?: WeightFormat,
): WeightFormat | undefined {
  const format = defaultFormat[dtype] && (wanted ?? defaultFormat[dtype]);
  if (!format || columns % weightBlocks[format].columns === 0) return format;
  return format === "q4" && columns % weightBlocks.q8.columns === 0 ? "q8" : "bf16";
}

/** Values of the smallest part that can be converted alone. */
export function valuesPerUnit(dtype: Dtype | GgmlType, format: WeightFormat): number {
  return Math.max(isGgmlType(dtype) ? GGML_BLOCKS[dtype].values : 1, weightBlocks[format].columns);
}

let scratch = new Float32Array(0);

/** As storedToFloat32, but the next call may overwrite the values. */
function toScratch(bytes: Uint8Array, dtype: Dtype | GgmlType, file: string): Float32Array {
  if (isGgmlType(dtype)) return dequantizeBlocks(bytes, dtype, file);
  if (scratch.byteLength < 2 * bytes.byteLength) scratch = new Float32Array(bytes.byteLength / 2);
  return toFloat32(bytes, dtype, file, scratch);
}

/**
 * Stored bytes → the GPU's format. Equal formats keep their bits: F32, BF16, F16, Q8_0 as q8, Q4_K
 * as q4. q8 keeps the values of Q4_0 and Q5_0.
 * @param bytes   a whole number of units (valuesPerUnit)
 * @param file    name of the checkpoint in errors
 * @param tensor  name of the tensor in errors
 * @throws CheckpointError  finite values whose f16, or f16 scale, would be infinite
 */
export function convertPiece(
  bytes: Uint8Array,
  dtype: Dtype | GgmlType,
  format: WeightFormat,
  file = "bytes",
  tensor = "",
): WeightPiece {
  if (dtype === "Q8_0" && format === "q8") return splitQ8(bytes);
  if ((dtype === "Q4_0" || dtype === "Q5_0") && format === "q8") return q8Piece(centredBlocks(bytes, dtype));
  if (dtype === "Q4_K" && format === "q4") return { weights: wholeWords(bytes) };
  if (format !== "q8" && format !== "q4" && dtypeOf[format] === dtype) return { weights: wholeWords(bytes) };
  const values = toScratch(bytes, dtype, file);
  const piece = encode(values, format);
  if (format !== "f32" && format !== "bf16" && overflows(piece, format) && values.every(Number.isFinite))
    throw overflow(values, format, file, tensor);
  return piece;
}

function encode(values: Float32Array, format: WeightFormat): WeightPiece {
  if (format === "q4") return { weights: quantizeQ4(values) };
  if (format !== "q8") return { weights: wholeWords(fromFloat32(values, dtypeOf[format])) };
  return q8Piece(quantizeQ8(values));
}

function q8Piece({ quants, scales }: Q8Weights): WeightPiece {
  return { weights: new Uint8Array(quants.buffer), scales: wholeWords(new Uint8Array(scales.buffer)) };
}

/** Whether an f16 of the piece is not finite: a value, a scale in q8, d or dmin in q4. */
function overflows({ weights, scales }: WeightPiece, format: "f16" | "q8" | "q4"): boolean {
  const bytes = scales ?? weights;
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  return halves.some(
    (half, i) => (half & 0x7c00) === 0x7c00 && (format !== "q4" || i % (q4BlockBytes / 2) < 2),
  );
}

function overflow(values: Float32Array, format: string, file: string, tensor: string): CheckpointError {
  const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const expected = `values that ${format} can hold (${format === "f16" ? "at most 65504" : "an f16 scale of at most 65504"})`;
  const advice = "use --weights bf16";
  return checkpointError(file, tensorField(tensor), expected, `${most}`, advice);
}

/** Separates Q8_0 blocks of 17 half-words: an f16 scale and 32 values. */
function splitQ8(bytes: Uint8Array): WeightPiece {
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const stored = new Uint16Array(even.buffer, even.byteOffset, even.byteLength / 2);
  const count = stored.length / 17;
  const weights = new Uint16Array(count * 16);
  const scales = new Uint16Array(Math.ceil(count / 2) * 2);
  for (let i = 0, from = 0, to = 0; i < count; i++) {
    scales[i] = stored[from++];
    for (let k = 0; k < 16; k++) weights[to++] = stored[from++];
  }
  return { weights: new Uint8Array(weights.buffer), scales: new Uint8Array(scales.buffer) };
}

/** The bytes, padded to a multiple of 4, in memory that is not shared. */
function wholeWords(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const shared = typeof SharedArrayBuffer !== "undefined" && bytes.buffer instanceof SharedArrayBuffer;
  if (bytes.byteLength % 4 === 0 && !shared) return bytes as Uint8Array<ArrayBuffer>;
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(bytes);
  return padded;
}
