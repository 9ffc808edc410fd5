import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectShape } from "../../gpu/tensor.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("embedding/embedding", ({ rows, piece_rows }, { tensors: { w, y } }) => ({
  flops: 0,
  bytes: 4 * rows + (w.bytes / piece_rows) * rows + y.bytes,
}));
const threads = 64;

/**
 * y[r] = table[ids[r]]. An id outside the table leaves its row undefined: callers check ids that
 * come from outside.
 * @param ids    [rows] u32
 * @param table  [vocabulary, width] in any storage format, in one piece or several; width a
 *               multiple of 4
 * @returns      [rows, width] f32
 * @source torch.nn.functional.embedding
 */
export function embedding(gpu: Gpu, ids: Tensor, table: Matrix): Tensor {
  expectDType("embedding", { ids }, "u32");
  expectShape("embedding", { ids }, [ids.shape[0]]);
  if (table.columns % 4 !== 0) {
    throw new ShapeError(`embedding: table must have a multiple of 4 columns, got ${table.columns}`);
  }
  gpu.tape?.refuse("embedding", [table.pieces[0].tensor]);
  const rows = ids.shape[0];
  const half = table.columns / 2;
  const y = gpu.empty([rows, table.columns]);
  for (const piece of table.pieces) {
    gpu.run(kernel, {
      params: { rows, half_width: half, first: piece.first, piece_rows: piece.rows },
      tensors: { ids, w: piece.tensor, scales: piece.scales ?? piece.tensor, y },
      groups: Math.ceil((rows * half) / threads),
      overrides: { WEIGHT: weightCode(table.format), WG: threads },
    });
  }
  return y;
}
