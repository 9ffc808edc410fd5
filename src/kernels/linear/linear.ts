import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import type { Matrix } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectShape } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { rmsNorm } from "../rms-norm/rms-norm.js";
import { dropout, scale } from "../scale/scale.js";
import { swiglu, swigluJoined } from "../swiglu/swiglu.js";
import { recordLinear } from "./linear-backward.js";
import { type InputNorm, expectInput, fusedNorm, product } from "./product.js";
import { linearVariant } from "./variants.js";

export type { InputNorm } from "./product.js";

export interface LinearOptions {
  /**
   * x is normalised first: the bits of `rmsNorm` and then the product, for one row in one dispatch
   * where the device can.
   */
  readonly norm?: InputNorm;
  /** [N] f32 */
  readonly bias?: Tensor;
  readonly activation?: "none" | "relu";
  /** [M, N] f32, added after the activation */
  readonly residual?: Tensor;
}

/**
 * y = act(x · wᵀ + bias) + residual. An element's sum order depends on K alone.
 * @param x  [M, K] f32, K a multiple of 4
 * @param w  [N, K] in any storage format, in one piece or several
 * @returns  [M, N] f32
 * @throws ShapeError  K differs or is no multiple of 4, the bias is not [N], the residual not
 *                     [M, N]
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
  // The gradient of an activation needs its output before the residual.
  const apart = residual !== undefined && gpu.tape !== undefined && activation !== "none";
  const within = apart ? undefined : residual;
  const y = product(gpu, x, w, { norm, bias, residual: within, activation });
  recordLinear(gpu, { x, w, bias, residual: within, y, activation });
  return apart ? add(gpu, residual, y) : y;
}

/** The two factors of a low-rank addition to a matrix [N, K]. */
export interface LowRank {
  /** [rank, K] f32 */
  readonly a: Matrix;
  /** [N, rank] f32 */
  readonly b: Matrix;
  readonly scale: number;
  /** Probability of dropping an element of x while a tape records. */
  readonly dropout: number;
  /** Number of this addition's random stream. */
  readonly stream: number;
}

/** A matrix, and the low-rank addition that is trained on it where there is one. */
export interface Projection extends Matrix {
  readonly lora?: LowRank;
}

/**
 * y = x · wᵀ + residual + scale · dropout(x) · aᵀ · bᵀ, the last where w has a low-rank addition.
 * @param x  [M, K] f32, K a multiple of 4
 * @param w  [N, K]
 * @returns  [M, N] f32
 * @throws ShapeError  as `linear`
 * @source peft LoraLayer
 */
export function projection(gpu: Gpu, x: Tensor, w: Projection, residual?: Tensor): Tensor {
  const y = linear(gpu, x, w, { residual });
  if (!w.lora) return y;
  const { a, b, scale: factor, dropout: probability, stream } = w.lora;
  const { tape } = gpu;
  const input = tape && probability > 0 ? dropout(gpu, x, probability, tape.seed + stream) : x;
  return linear(gpu, scale(gpu, linear(gpu, input, a), factor), b, { residual: y });
}

/**
 * y = silu(x · gateᵀ) · (x · upᵀ): one matrix in one dispatch for one row where the device can, and
 * without a gradient; two in ops that have one. The same bits.
 * @param x       [M, K] f32, K a multiple of 4
 * @param gateUp  one matrix [2 F, K], the gate's rows, then up's; or gate and up [F, K]; in any
 *                storage format
 * @param norm    of x, as in `linear`
 * @returns       [M, F] f32
 * @throws ShapeError  K differs or is no multiple of 4, the rows of one matrix are odd, or a
 *                     gradient is to pass it
 * @source transformers Qwen3MLP
 */
export function linearSwiglu(gpu: Gpu, x: Tensor, gateUp: readonly Projection[], norm?: InputNorm): Tensor {
  const [gate, up] = gateUp;
  if (norm && (up || !fusedNorm(gpu, x, gate, norm))) {
    return linearSwiglu(gpu, rmsNorm(gpu, x, norm.gamma, norm.eps), gateUp);
  }
  if (up) return swiglu(gpu, projection(gpu, x, gate), projection(gpu, x, up));
  const [rows] = expectInput(x, gate);
  if (gate.rows % 2 !== 0) throw new ShapeError(`linear: gateUp must have even rows, got ${gate.rows}`);
  gpu.tape?.refuse("linearSwiglu", [x, gate.pieces[0].tensor]);
  const { lanes } = linearVariant(gpu, gate, rows);
  const oneDispatch = rows === 1 && lanes !== undefined && gate.pieces.length === 1;
  if (oneDispatch) return product(gpu, x, gate, { norm, activation: "swiglu" });
  return gpu.scope(() => swigluJoined(gpu, product(gpu, x, gate, { norm, activation: "none" })));
}
