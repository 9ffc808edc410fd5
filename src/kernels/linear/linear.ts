import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { loadKernel } from "../../gpu/kernel.js";
import { type LowRank, type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { dropout, scale } from "../scale/scale.js";
import { recordLinear } from "./linear-backward.js";

const tiled = loadKernel("linear/linear");
const perRow = loadKernel("linear/linear-row");
const columnTile = 4; // TN of both kernels
const rowTile = 4; // TM of linear.wgsl
const threads = 32;

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
  const [kernel, tile] = rows < rowTile ? [perRow, 1] : [tiled, rowTile];
  for (const { first, rows: columns, tensor, scales } of w.pieces) {
    const tiles = Math.ceil(rows / tile) * Math.ceil(columns / columnTile);
    gpu.run(kernel, {
      params: { rows, k4: width / 4, columns, first, y_columns: w.rows },
      tensors: { x, w: tensor, scales: scales ?? tensor, bias: bias ?? x, y },
      groups: Math.ceil(tiles / threads),
      overrides: {
        WEIGHT: weightCode(w.format),
        ACTIVATION: activations[activation],
        HAS_BIAS: bias !== undefined,
        WG: threads,
      },
    });
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
