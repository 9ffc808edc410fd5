import type { Matrix } from "../../gpu/matrix.js";
import { uniformWindow } from "../../gpu/kernel.js";
import type { Tensor } from "../../gpu/tensor.js";

/** Rows of a matrix that one dispatch sees through a uniform binding. */
export interface RowWindow {
  /** The rows, bound from a multiple of 256 bytes on. */
  readonly tensor: Tensor;
  /** Row of the matrix that they begin with. */
  readonly first: number;
  /** vec4 of the window before them. */
  readonly start: number;
}

const alignment = 256; // bytes, minUniformBufferOffsetAlignment that every device has
const mostWindows = 8; // more would cost more dispatches than they save

/** Rows of a window: whole tiles of columns of the product. */
function windowRows(columns: number, tile: number): number {
  return Math.floor(uniformWindow / (4 * columns * tile)) * tile;
}

/** Whether an f32 matrix is read through windows: it fills one, and a few hold it. */
export function fitsWindows({ rows, columns, format, pieces }: Matrix, tile: number): boolean {
  const bytes = 4 * rows * columns;
  return (
    format === "f32" &&
    pieces.length === 1 &&
    bytes >= uniformWindow &&
    bytes % alignment === 0 &&
    (4 * columns * tile) % alignment === 0 &&
    rows <= mostWindows * windowRows(columns, tile)
  );
}

/** The windows of a matrix that `fitsWindows`. The last ones end with the matrix. */
export function rowWindows({ rows, columns, pieces: [{ tensor }] }: Matrix, tile: number): RowWindow[] {
  const stride = 4 * columns;
  const most = windowRows(columns, tile);
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => {
    const first = i * most;
    const count = Math.min(most, rows - first);
    const offset = Math.min(first * stride, tensor.bytes - uniformWindow);
    return {
      tensor: { ...tensor, shape: [count, columns], bytes: count * stride, offset },
      first,
      start: (first * stride - offset) / 16,
    };
  });
}
