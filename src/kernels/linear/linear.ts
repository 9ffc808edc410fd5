import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type LowRank, type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { rmsNorm } from "../rms-norm/rms-norm.js";
import { dropout, scale } from "../scale/scale.js";
import { swigluJoined } from "../swiglu/swiglu.js";
import { type LinearKernel, linearKernel, normedKernel, subgroupBlock } from "./family.js";
import { recordLinear } from "./linear-backward.js";

/** RMSNorm of a product's input. */
export interface InputNorm {
  /** [K] f32 */
  readonly gamma: Tensor;
  readonly eps: number;
}

export interface LinearOptions {
  /** x is normalised first: the bits of `rmsNorm` and then the product, for one row in one dispatch where the device can. */
  readonly norm?: InputNorm;
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
  const { norm, bias, residual, activation = "none" } = options;
  if (norm && !fusedNorm(gpu, x, w, norm)) {
    return linear(gpu, rmsNorm(gpu, x, norm.gamma, norm.eps), w, { bias, residual, activation });
  }
  expectDType("linear", { bias, residual }, "f32");
  expectShape("linear", { bias }, [w.rows]);
  expectShape("linear", { residual }, [rows, w.rows]);
  if (w.lora && activation !== "none") {
    throw new ShapeError(`linear: a matrix with a low-rank addition takes no activation, got ${activation}`);
  }
  const apart = residual !== undefined && (gpu.tape !== undefined || w.lora !== undefined);
  const y = product(gpu, x, w, { norm, bias, residual: apart ? undefined : residual, activation });
  recordLinear(gpu, { x, w, bias, y, activation });
  const sum = w.lora ? add(gpu, y, lowRank(gpu, x, w.lora)) : y;
  return apart ? add(gpu, residual, sum) : sum;
}

/**
 * y = silu(x · gateᵀ) · (x · upᵀ), with gate and up as one matrix.
 * @param x       [M, K] f32, K a multiple of 4
 * @param gateUp  [2 F, K] the gate's rows, then up's; in any storage format
 * @param norm    of x, as in `linear`
 * @returns       [M, F] f32
 * @throws ShapeError  K differs or is no multiple of 4, or the rows are odd
 * @source transformers Qwen3MLP
 */
export function linearSwiglu(gpu: Gpu, x: Tensor, gateUp: Matrix, norm?: InputNorm): Tensor {
  if (norm && !fusedNorm(gpu, x, gateUp, norm)) {
    return linearSwiglu(gpu, rmsNorm(gpu, x, norm.gamma, norm.eps), gateUp);
  }
  const [rows] = expectInput(x, gateUp);
  if (gateUp.rows % 2 !== 0) throw new ShapeError(`linear: gateUp must have even rows, got ${gateUp.rows}`);
  gpu.tape?.refuse("linearSwiglu", [x, gateUp.pieces[0].tensor]);
  const { family } = linearKernel(gpu, gateUp.format, rows, gateUp.columns);
  const oneDispatch = rows === 1 && family === "subgroup" && gateUp.pieces.length === 1;
  if (oneDispatch) return product(gpu, x, gateUp, { norm, activation: "swiglu" });
  return gpu.scope(() => swigluJoined(gpu, product(gpu, x, gateUp, { norm, activation: "none" })));
}

/** The kernel that normalises x itself, where nothing else needs the normalised x. */
function fusedNorm(gpu: Gpu, x: Tensor, w: Matrix, { gamma }: InputNorm): LinearKernel | undefined {
  const [rows, width] = expectInput(x, w);
  const fits = gamma.dtype === "f32" && gamma.shape.length === 1 && gamma.shape[0] === width;
  if (!fits || gpu.tape !== undefined || w.lora !== undefined) return undefined;
  return normedKernel(gpu, w.format, rows, width);
}

/** [M, K] of x. @throws ShapeError  it does not fit w */
function expectInput(x: Tensor, w: Matrix): [number, number] {
  const [rows, width] = expectMatrix("linear", { x });
  expectDType("linear", { x }, "f32");
  if (width !== w.columns) throw new ShapeError(`linear: w must have ${width} columns, got ${w.columns}`);
  if (width % 4 !== 0) throw new ShapeError(`linear: x must have a multiple of 4 columns, got ${width}`);
  return [rows, width];
}

interface ProductOptions extends Pick<LinearOptions, "norm" | "bias" | "residual"> {
  readonly activation: keyof typeof activations;
}

function product(gpu: Gpu, x: Tensor, w: Matrix, options: ProductOptions): Tensor {
  const [rows, width] = x.shape;
  const { norm, bias, residual, activation } = options;
  const halves = activation === "swiglu" ? 2 : 1;
  const y_columns = w.rows / halves;
  const y = gpu.empty([rows, y_columns]);
  const fused = norm && fusedNorm(gpu, x, w, norm);
  const {
    kernel,
    family,
    workgroups = Infinity,
    ...tile
  } = fused ?? linearKernel(gpu, w.format, rows, width);
  const shared = { WEIGHT: weightCode(w.format), ACTIVATION: activations[activation] };
  const some = { bias: bias ?? x, residual: residual ?? x }; // a kernel without one binds any array
  const has = { has_bias: bias ? 1 : 0, has_residual: residual ? 1 : 0 };
  for (const { first, rows: pieceRows, tensor, scales } of w.pieces) {
    const columns = pieceRows / halves;
    const piece = { rows, columns, first, y_columns };
    const tensors = { x, w: tensor, scales: scales ?? tensor, ...some, y };
    const strips = Math.ceil(columns / (tile.columns / halves));
    if (family === "portable") {
      const params = { ...piece, k4: width / 4 };
      const overrides = { ...shared, HAS_BIAS: bias !== undefined, HAS_RESIDUAL: residual !== undefined };
      gpu.run(kernel, { params, tensors, groups: Math.ceil(rows / tile.rows) * strips, overrides });
      continue;
    }
    const params = { ...piece, k8: width / subgroupBlock, ...has };
    if (rows > 1) {
      const groups = Math.ceil(rows / tile.rows) * strips;
      gpu.run(kernel, { params: { ...params, unit: 4 }, tensors, groups, overrides: shared });
    } else {
      const tiles = Math.max(1, Math.ceil(strips / workgroups));
      gpu.run(kernel, {
        params: { ...params, tiles, eps: norm?.eps ?? 0 },
        tensors: { ...tensors, gamma: norm?.gamma ?? x },
        groups: Math.ceil(strips / tiles),
        overrides: shared,
      });
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
