import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Tensor, expectDType, expectMatrix } from "../../gpu/tensor.js";
import { perElement } from "../cost.js";
import { defineKernel } from "../variants.js";

const kernel = defineKernel("copy-rows/copy-rows-backward", perElement(1));
const threads = 64;

/**
 * Where each source row went: `targets` from starts[row] to starts[row + 1].
 * @throws ShapeError  as copyRowsBackward
 */
function targetsByRow(
  pairs: readonly (readonly [number, number])[],
  rows: number,
  targetRows: number,
): { starts: Uint32Array; targets: Uint32Array } {
  const written = new Set<number>();
  const lists = Array.from({ length: rows }, (): number[] => []);
  for (const [row, target] of pairs) {
    if (!(row >= 0 && row < rows))
      throw new ShapeError(`copyRowsBackward: pairs must name source rows below ${rows}, got ${row}`);
    if (!(target >= 0 && target < targetRows))
      throw new ShapeError(
        `copyRowsBackward: pairs must name target rows below ${targetRows}, got ${target}`,
      );
    if (written.has(target))
      throw new ShapeError(`copyRowsBackward: pairs must have distinct target rows, got ${target} twice`);
    written.add(target);
    lists[row].push(target);
  }
  const starts = new Uint32Array(rows + 1);
  for (const [row, list] of lists.entries()) starts[row + 1] = starts[row] + list.length;
  return { starts, targets: Uint32Array.from(lists.flat()) };
}

/**
 * Gradient of `copyRows` with respect to its source: dx[row] = Σ of dy[target] over the row's
 * pairs, 0 where it has none.
 * @param dy     [target rows, width] f32, gradient of what the rows were copied into
 * @param pairs  source row and target row of each copy; a source row may be copied several times,
 *               target rows differ
 * @param rows   rows of the source
 * @returns      [rows, width] f32
 * @throws ShapeError  a row out of range, or a target row named twice
 * @source torch.autograd of torch.Tensor.index_copy_
 */
export function copyRowsBackward(
  gpu: Gpu,
  dy: Tensor,
  pairs: readonly (readonly [number, number])[],
  rows: number,
): Tensor {
  const [targetRows, width] = expectMatrix("copyRowsBackward", { dy });
  expectDType("copyRowsBackward", { dy }, "f32");
  const { starts, targets } = targetsByRow(pairs, rows, targetRows);
  const dx = gpu.empty([rows, width]);
  gpu.run(kernel, {
    params: { rows, width },
    tensors: {
      dy,
      starts: gpu.upload(starts, [rows + 1]),
      targets: targets.length > 0 ? gpu.upload(targets, [targets.length]) : gpu.empty([1], "u32"),
      dx,
    },
    groups: Math.ceil((rows * width) / threads),
    overrides: { WG: threads },
  });
  return dx;
}

/**
 * Gradient of `takeRows` with respect to x: row i of dy is added to row indices[i]; rows that were
 * not taken get 0.
 * @param dy       [indices, width] f32
 * @param indices  row numbers of x, as given to `takeRows`
 * @param rows     rows of x
 * @returns        [rows, width] f32
 * @throws ShapeError  an index out of range, or dy has another number of rows
 * @source torch.autograd of torch.Tensor.index_select
 */
export function takeRowsBackward(gpu: Gpu, dy: Tensor, indices: readonly number[], rows: number): Tensor {
  if (dy.shape[0] !== indices.length) {
    throw new ShapeError(`takeRowsBackward: dy must have ${indices.length} rows, got ${dy.shape[0]}`);
  }
  return copyRowsBackward(
    gpu,
    dy,
    indices.map((row, i) => [row, i] as const),
    rows,
  );
}
