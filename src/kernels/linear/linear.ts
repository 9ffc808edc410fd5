import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type LowRank, type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { dropout, scale } from "../scale/scale.js";
import { swigluJoined } from "../swiglu/swiglu.js";
import { linearKernel, subgroupBlock } from "./family.js";
import { recordLinear } from "./linear-backward.js";

export interface LinearOptions {
  /** [N] f32 */
  readonly bias?: Tensor;
  readonly activation?: "none" | "relu" | "silu";
  /** [M, N] f32, added after the activation */
  readonly residual?: Tensor;
}

const activations = { none: 0, relu: 1, silu: 2, swiglu: 3 };

/**
 * y = act(x · wᵀ + bias) + residual, plus the matrix's low-rank addition if it has one. An element's sum order depends on K alone.
 * @param x  [M, K] f32, K a multiple of 4
 * @param w  [N, K] in any storage format, in one piece or several
 * @returns  [M, N] f32
 * @throws ShapeError  K differs or is no multiple of 4, the bias is not [N], the residual not [M, N], a low-rank addition meets
 *                     an activation
 * @source torch.nn.functional.linear
 */
export function linear(gpu: Gpu, x: Tensor, w: Matrix, options: LinearOptions = {}): Tensor {
  const [rows] = expectInput(x, w);
  const { bias, residual, activation = "none" } = options;
  expectDType("linear", { bias, residual }, "f32");
  expectShape("linear", { bias }, [w.rows]);
  expectShape("linear", { residual }, [rows, w.rows]);
  if (w.lora && activation !== "none") {
    throw new ShapeError(`linear: a matrix with a low-rank addition takes no activation, got ${activation}`);
  }
  const apart = residual !== undefined && (gpu.tape !== undefined || w.lora !== undefined);
  const y = product(gpu, x, w, { bias, residual: apart ? undefined : residual, activation });
  recordLinear(gpu, { x, w, bias, y, activation });
  const sum = w.lora ? add(gpu, y, lowRank(gpu, x, w.lora)) : y;
  return apart ? add(gpu, residual, sum) : sum;
}

/**
 * y = silu(x · gateᵀ) · (x · upᵀ), with gate and up as one matrix.
 * @param x       [M, K] f32, K a multiple of 4
 * @param gateUp  [2 F, K] the gate's rows, then up's; in any storage format
 * @returns       [M, F] f32
 * @throws ShapeError  K differs or is no multiple of 4, or the rows are odd
 * @source transformers Qwen3MLP
 */
export function linearSwiglu(gpu: Gpu, x: Tensor, gateUp: Matrix): Tensor {
  const [rows] = expectInput(x, gateUp);
  if (gateUp.rows % 2 !== 0) throw new ShapeError(`linear: gateUp must have even rows, got ${gateUp.rows}`);
  const { family } = linearKernel(gpu, gateUp.format, rows, gateUp.columns);
  const oneDispatch = rows === 1 && family === "subgroup" && gateUp.pieces.length === 1;
  if (oneDispatch) return product(gpu, x, gateUp, { activation: "swiglu" });
  return gpu.scope(() => swigluJoined(gpu, product(gpu, x, gateUp, { activation: "none" })));
}

/** [M, K] of x. @throws ShapeError  it does not fit w */
function expectInput(x: Tensor, w: Matrix): [number, number] {
  const [rows, width] = expectMatrix("linear", { x });
  expectDType("linear", { x }, "f32");
  if (width !== w.columns) throw new ShapeError(`linear: w must have ${width} columns, got ${w.columns}`);
  if (width % 4 !== 0) throw new ShapeError(`linear: x must have a multiple of 4 columns, got ${width}`);
  return [rows, width];
}

interface ProductOptions extends Pick<LinearOptions, "bias" | "residual"> {
  readonly activation: keyof typeof activations;
}

function product(gpu: Gpu, x: Tensor, w: Matrix, options: ProductOptions): Tensor {
  const [rows, width] = x.shape;
  const { bias, residual, activation } = options;
  const halves = activation === "swiglu" ? 2 : 1;
  const y_columns = w.rows / halves;
  const y = gpu.empty([rows, y_columns]);
  const { kernel, family, ...tile } = linearKernel(gpu, w.format, rows, width);
  const shared = { WEIGHT: weightCode(w.format), ACTIVATION: activations[activation] };
  const some = { bias: bias ?? x, residual: residual ?? x }; // a kernel without one binds any array
  const given = { has_bias: bias ? 1 : 0, has_residual: residual ? 1 : 0, ...(rows > 1 && { unit: 4 }) };
  for (const { first, rows: pieceRows, tensor, scales } of w.pieces) {
    const columns = pieceRows / halves;
    const piece = { rows, columns, first, y_columns };
    const tensors = { x, w: tensor, scales: scales ?? tensor, ...some, y };
    const groups = Math.ceil(rows / tile.rows) * Math.ceil(columns / (tile.columns / halves));
    if (family === "subgroup") {
      const params = { ...piece, k8: width / subgroupBlock, ...given };
      gpu.run(kernel, { params, tensors, groups, overrides: shared });
    } else {
      const params = { ...piece, k4: width / 4 };
      const has = { HAS_BIAS: bias !== undefined, HAS_RESIDUAL: residual !== undefined };
      gpu.run(kernel, { params, tensors, groups, overrides: { ...shared, ...has } });
    }
  }
  return y;
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
