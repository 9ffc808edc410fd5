import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type LowRank, type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { dropout, scale } from "../scale/scale.js";
import { linearKernel, subgroupBlock } from "./family.js";
import { recordLinear } from "./linear-backward.js";

export interface LinearOptions {
  /** [N] f32 */
  readonly bias?: Tensor;
  readonly activation?: "none" | "relu" | "silu";
}

const activations = { none: 0, relu: 1, silu: 2 };

/**
 * y = act(x · wᵀ + bias), plus the matrix's low-rank addition if it has one. An element's sum order depends on K alone.
 * @param x  [M, K] f32, K a multiple of 4
 * @param w  [N, K] in any storage format, in one piece or several
 * @returns  [M, N] f32
 * @throws ShapeError  K differs or is no multiple of 4, the bias is not [N], a low-rank addition meets an activation
 * @source torch.nn.functional.linear
 */
export function linear(gpu: Gpu, x: Tensor, w: Matrix, options: LinearOptions = {}): Tensor {
  const [rows, width] = expectMatrix("linear", { x });
  const { bias, activation = "none" } = options;
  expectDType("linear", { x, bias }, "f32");
  expectShape("linear", { bias }, [w.rows]);
  if (width !== w.columns) throw new ShapeError(`linear: w must have ${width} columns, got ${w.columns}`);
  if (width % 4 !== 0) throw new ShapeError(`linear: x must have a multiple of 4 columns, got ${width}`);
  if (w.lora && activation !== "none")
    throw new ShapeError(`linear: a matrix with a low-rank addition takes no activation, got ${activation}`);
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
  recordLinear(gpu, { x, w, bias, y, activation });
  return w.lora ? add(gpu, y, lowRank(gpu, x, w.lora)) : y;
}

/** scale · dropout(x) · aᵀ · bᵀ; x [M, K] → [M, N]. @source peft LoraLayer */
function lowRank(
  gpu: Gpu,
  x: Tensor,
  { a, b, scale: factor, dropout: probability, stream }: LowRank,
): Tensor {
  const { tape } = gpu;
  const input = tape && probability > 0 ? dropout(gpu, x, probability, tape.seed + stream) : x;
  return linear(gpu, scale(gpu, linear(gpu, input, a), factor), b);
}
