import { GpuError, ShapeError } from "./errors.js";
import type { Gpu } from "./device.js";
import { type DType, type Tensor, bytesPerElement } from "./tensor.js";

/** A weight matrix [rows, columns], in pieces of whole rows, each no larger than one storage binding. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: DType;
  readonly pieces: readonly MatrixPiece[];
}

export interface MatrixPiece {
  /** Row of the matrix that the piece begins with. */
  readonly first: number;
  readonly rows: number;
  readonly tensor: Tensor;
}

/** Value of the kernels' WEIGHT override for a storage type. */
export function weightCode(dtype: DType): number {
  const code = { f32: 0, bf16: 1, f16: 2, u32: -1 }[dtype];
  if (code < 0) throw new ShapeError(`a weight must be f32, bf16 or f16, got ${dtype}`);
  return code;
}

/**
 * Room for a weight matrix on the GPU, kept until freed. It is filled with `writeMatrix`.
 * @throws GpuError  one row alone is larger than a storage binding
 */
export function keepMatrix(gpu: Gpu, rows: number, columns: number, dtype: DType): Matrix {
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const rowBytes = columns * bytesPerElement[dtype];
  const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const most = Math.floor(limit / rowBytes);
  if (most === 0)
    throw new GpuError(`a matrix row of ${rowBytes} bytes passes the binding limit of ${limit}`);
  const pieces: MatrixPiece[] = [];
  const matrix = { rows, columns, dtype, pieces };
  try {
    for (let first = 0; first < rows; first += most) {
      const count = Math.min(most, rows - first);
      pieces.push({ first, rows: count, tensor: gpu.keep([count, columns], dtype) });
    }
  } catch (error) {
    freeMatrix(gpu, matrix);
    throw error;
  }
  return matrix;
}

/** Writes bytes of the row-major matrix, from any offset (a multiple of 4), into the pieces that hold them. */
export function writeMatrix(gpu: Gpu, matrix: Matrix, bytes: Uint8Array<ArrayBuffer>, byteOffset = 0): void {
  for (const { first, tensor } of matrix.pieces) {
    const start = first * matrix.columns * bytesPerElement[matrix.dtype];
    const from = Math.max(byteOffset, start);
    const to = Math.min(byteOffset + bytes.byteLength, start + tensor.bytes);
    if (from < to) gpu.write(tensor, bytes.subarray(from - byteOffset, to - byteOffset), from - start);
  }
}

/** Destroys a matrix. */
export function freeMatrix(gpu: Gpu, matrix: Matrix): void {
  for (const { tensor } of matrix.pieces) gpu.free(tensor);
}
