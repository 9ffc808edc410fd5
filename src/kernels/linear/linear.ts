import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { linearKernel, subgroupBlock } from "./family.js";

export interface LinearOptions {
  /** [N] f32 */
  readonly bias?: Tensor;
  readonly activation?: "none" | "relu" | "silu";
}

const activations = { none: 0, relu: 1, silu: 2 };

/**
 * y = act(x · wᵀ + bias). An element's sum order depends on K alone.
 * @param x  [M, K] f32, K a multiple of 4
 * @param w  [N, K] in any storage format, in one piece or several
 * @returns  [M, N] f32
 * @throws ShapeError  K differs or is no multiple of 4, or the bias is not [N]
 * @source torch.nn.functional.linear
 */
export function linear(gpu: Gpu, x: Tensor, w: Matrix, options: LinearOptions = {}): Tensor {
  const [rows, width] = expectMatrix("linear", { x });
  const { bias, activation = "none" } = options;
  expectDType("linear", { x, bias }, "f32");
  expectShape("linear", { bias }, [w.rows]);
  if (width !== w.columns) throw new ShapeError(`linear: w must have ${width} columns, got ${w.columns}`);
  if (width % 4 !== 0) throw new ShapeError(`linear: x must have a multiple of 4 columns, got ${width}`);
  const y = gpu.empty([rows, w.rows]);
  const { kernel, family, ...tile } = linearKernel(gpu, rows, width);
  const shared = { WEIGHT: weightCode(w.format), ACTIVATION: activations[activation] };
  const some = bias ?? x; // a kernel without a bias binds any array
  for (const { first, rows: columns, tensor, scales } of w.pieces) {
    const piece = { rows, columns, first, y_columns: w.rows };
    const groups = Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
    if (family === "subgroup") {
      gpu.run(kernel, {
        params: { ...piece, k8: width / subgroupBlock, has_bias: bias ? 1 : 0, ...(rows > 1 && { unit: 4 }) },
        tensors: { x, w: tensor, scales: scales ?? tensor, bias: some, y },
        groups,
        overrides: shared,
      });
    } else {
      gpu.run(kernel, {
        params: { ...piece, k4: width / 4 },
        tensors: { x, w: tensor, scales: scales ?? tensor, bias: some, y },
        groups,
        overrides: { ...shared, HAS_BIAS: bias !== undefined },
      });
    }
  }
  return y;
}
