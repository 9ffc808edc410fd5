import { GpuError, ShapeError } from "./errors.js";
import type { Gpu } from "./device.js";
import type { Tensor } from "./tensor.js";

/**
 * Storage of a weight matrix on the GPU. q8: 8 bits, one f16 scale for each 32 columns, kept apart.
 * q4: ggml's Q4_K blocks of 256 columns in 144 bytes.
 */
export type WeightFormat = "f32" | "bf16" | "f16" | "q8" | "q4";

/** Columns that a row must be a multiple of, and bytes that so many take (without q8's scales). */
export const weightBlocks: Readonly<
  Record<WeightFormat, { readonly columns: number; readonly bytes: number }>
> = {
  f32: { columns: 1, bytes: 4 },
  bf16: { columns: 1, bytes: 2 },
  f16: { columns: 1, bytes: 2 },
  q8: { columns: 32, bytes: 32 },
  q4: { columns: 256, bytes: 144 },
};

/**
 * A weight matrix [rows, columns], in pieces of whole rows, each no larger than one storage
 * binding.
 */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly format: WeightFormat;
  readonly pieces: readonly MatrixPiece[];
}

export interface MatrixPiece {
  /** Row of the matrix that the piece begins with. */
  readonly first: number;
  readonly rows: number;
  readonly tensor: Tensor;
  /** q8 only: [rows, columns / 32] f16 */
  readonly scales?: Tensor;
}

const codes: Readonly<Record<WeightFormat, number>> = { f32: 0, bf16: 1, f16: 2, q8: 3, q4: 4 };

/** Value of the kernels' WEIGHT override for a storage format. */
export function weightCode(format: WeightFormat): number {
  return codes[format];
}

/** Bytes of one row, without q8's scales. */
export function rowBytes(columns: number, format: WeightFormat): number {
  const block = weightBlocks[format];
  return (columns / block.columns) * block.bytes;
}

/** Bytes of q8's scales of one row; 0 in the other formats. */
export function rowScaleBytes(columns: number, format: WeightFormat): number {
  return format === "q8" ? columns / 16 : 0;
}

/**
 * Room for a weight matrix on the GPU, kept until freed. It is filled with `writeMatrix` and
 * `writeScales`.
 * @throws ShapeError  the columns are no whole number of the format's blocks
 * @throws GpuError    one row alone is larger than a storage binding
 */
export function keepMatrix(gpu: Gpu, rows: number, columns: number, format: WeightFormat): Matrix {
  const block = weightBlocks[format];
  if (columns % block.columns !== 0) {
    throw new ShapeError(`${format}: columns must be a multiple of ${block.columns}, got ${columns}`);
  }
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const bytes = rowBytes(columns, format);
  const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const most = Math.floor(limit / bytes);
  if (most === 0) throw new GpuError(`a matrix row of ${bytes} bytes passes the binding limit of ${limit}`);
  const stride = format === "q8" && most > 1 ? most & ~1 : most; // even: the scales of a piece begin at a whole word
  const pieces: MatrixPiece[] = [];
  const matrix = { rows, columns, format, pieces };
  try {
    for (let first = 0; first < rows; first += stride) {
      const count = Math.min(stride, rows - first);
      pieces.push({ first, rows: count, ...keepPiece(gpu, count, columns, format) });
    }
  } catch (error) {
    freeMatrix(gpu, matrix);
    throw error;
  }
  return matrix;
}

function keepPiece(
  gpu: Gpu,
  rows: number,
  columns: number,
  format: WeightFormat,
): Pick<MatrixPiece, "tensor" | "scales"> {
  if (format === "q8") {
    const scales = gpu.keep([rows, columns / 32], "f16");
    return { tensor: gpu.keep([rows, columns / 4], "u32"), scales };
  }
  if (format === "q4") return { tensor: gpu.keep([rows, rowBytes(columns, format) / 4], "u32") };
  return { tensor: gpu.keep([rows, columns], format) };
}

/**
 * Writes bytes of the row-major matrix, from any offset (a multiple of 4), into the pieces that
 * hold them.
 */
export function writeMatrix(gpu: Gpu, matrix: Matrix, bytes: Uint8Array<ArrayBuffer>, byteOffset = 0): void {
  const stride = rowBytes(matrix.columns, matrix.format);
  for (const { first, tensor } of matrix.pieces) writePart(gpu, tensor, first * stride, bytes, byteOffset);
}

/** The same for the scales of a q8 matrix. */
export function writeScales(gpu: Gpu, matrix: Matrix, bytes: Uint8Array<ArrayBuffer>, byteOffset = 0): void {
  const stride = rowScaleBytes(matrix.columns, matrix.format);
  for (const { first, scales } of matrix.pieces) {
    if (scales) writePart(gpu, scales, first * stride, bytes, byteOffset);
  }
}

/**
 * What of `bytes`, which begin at `byteOffset` of the whole, falls into the tensor that begins at
 * `start`.
 */
function writePart(
  gpu: Gpu,
  tensor: Tensor,
  start: number,
  bytes: Uint8Array<ArrayBuffer>,
  byteOffset: number,
): void {
  const from = Math.max(byteOffset, start);
  const to = Math.min(byteOffset + bytes.byteLength, start + tensor.bytes);
  if (from < to) gpu.write(tensor, bytes.subarray(from - byteOffset, to - byteOffset), from - start);
}

/** Destroys a matrix. */
export function freeMatrix(gpu: Gpu, matrix: Matrix): void {
  for (const { tensor, scales } of matrix.pieces) {
    gpu.free(tensor);
    if (scales) gpu.free(scales);
  }
}
