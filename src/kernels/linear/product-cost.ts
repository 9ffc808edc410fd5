import type { Tensor } from "../../gpu/tensor.js";
import { type CostOf, tileRows } from "../cost.js";

/** Bytes of a tensor that none of the others stands in for. */
function own(tensor: Tensor, others: readonly Tensor[], bytes: number): number {
  return others.some(({ allocation }) => allocation === tensor.allocation) ? 0 : bytes;
}

/**
 * y = x · wᵀ with what joins it in the epilogue: 2 a weight and row. A piece of w makes its own
 * columns of y only.
 */
export const productCost: CostOf = ({ rows, columns, k4 }, { tensors: { x, w, scales, bias, residual } }) => {
  const weightRows = w.shape.length === 2 ? w.shape[0] : columns;
  const made = 4 * rows * columns;
  const bytes =
    16 * rows * k4 +
    w.bytes +
    (scales ? own(scales, [w], scales.bytes) : 0) +
    own(bias, [x, residual], 4 * columns) +
    own(residual, [x, bias], made) +
    made;
  const flopsPerRow = 2 * 4 * k4 * weightRows;
  const flops = rows * flopsPerRow;
  const shape = `${rows}×${4 * k4}×${w.shape[0]} ${weightType(w, 4 * k4)}`;
  if (rows === 1) return { flops, bytes, kind: "row", shape };
  const tiledFlops = Math.ceil(rows / tileRows) * tileRows * flopsPerRow;
  return { flops, bytes, kind: "products", tiledFlops, shape };
};

/** The dtype, or bits a weight where they are packed. */
function weightType({ dtype, bytes, shape: [n] }: Tensor, k: number): string {
  return dtype === "u32" ? `${((8 * bytes) / (n * k)).toFixed(1)} bit` : dtype;
}
