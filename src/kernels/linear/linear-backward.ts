import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import type { Matrix } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix, expectShape } from "../../gpu/tensor.js";
import { add } from "../add/add.js";
import { columnSum } from "../column-sum/column-sum.js";
import { reluBackward } from "../relu-backward/relu-backward.js";
import { inputGrad, weightGrad } from "./linear-grad.js";
import { inputGradByTranspose, weightGradByTranspose } from "./linear-grad-transposed.js";

/**
 * dx = dy · w + earlier: the gradient of linear's input.
 * @param dy       [M, N] f32
 * @param w        [N, K] in any storage format, in one piece or several; K a multiple of 4
 * @param earlier  [M, K] f32, added last
 * @returns        [M, K] f32
 * @throws ShapeError  N differs, K is no multiple of 4, or `earlier` is not [M, K]
 */
export function linearInputGrad(gpu: Gpu, dy: Tensor, w: Matrix, earlier?: Tensor): Tensor {
  const [rows, columns] = expectMatrix("linearInputGrad", { dy });
  expectDType("linearInputGrad", { dy }, "f32");
  if (columns !== w.rows) throw new ShapeError(`linearInputGrad: w must have ${columns} rows, got ${w.rows}`);
  if (w.columns % 4 !== 0) {
    throw new ShapeError(`linearInputGrad: w must have a multiple of 4 columns, got ${w.columns}`);
  }
  expectShape("linearInputGrad", { earlier }, [rows, w.columns]);
  const fast = inputGradByTranspose(gpu, dy, w, earlier);
  if (fast) return fast;
  const dx = inputGrad(gpu, dy, w);
  return earlier ? add(gpu, earlier, dx) : dx;
}

/**
 * dW = dyᵀ · x: the gradient of linear's weight.
 * @param dy  [M, N] f32
 * @param x   [M, K] f32, K a multiple of 4
 * @returns   [N, K] f32
 * @throws ShapeError  M differs, or K is no multiple of 4
 */
export function linearWeightGrad(gpu: Gpu, dy: Tensor, x: Tensor): Tensor {
  const [rows] = expectMatrix("linearWeightGrad", { dy });
  const [, width] = expectMatrix("linearWeightGrad", { x });
  expectDType("linearWeightGrad", { dy, x }, "f32");
  expectShape("linearWeightGrad", { x }, [rows, width]);
  if (width % 4 !== 0) {
    throw new ShapeError(`linearWeightGrad: x must have a multiple of 4 columns, got ${width}`);
  }
  return weightGradByTranspose(gpu, dy, x) ?? weightGrad(gpu, dy, x);
}

/** A call of `linear` that has run. */
interface LinearCall {
  readonly x: Tensor;
  readonly w: Matrix;
  readonly bias?: Tensor;
  /** Added within the product; only without an activation. */
  readonly residual?: Tensor;
  readonly y: Tensor;
  readonly activation: "none" | "relu";
}

/**
 * Puts a linear on the tape, if there is one. x is kept only where the weight is trained.
 * @throws ShapeError  a residual within an activation's product, whose output alone the gradient
 *                     needs
 */
export function recordLinear(gpu: Gpu, { x, w, bias, residual, y, activation }: LinearCall): void {
  const { tape } = gpu;
  if (!tape) return;
  if (residual && activation !== "none") {
    throw new ShapeError(
      `linear: a residual is recorded apart from the activation ${activation}, got both in one`,
    );
  }
  const weight = w.pieces[0].tensor;
  const trained = tape.wants(weight);
  tape.record({
    output: y,
    inputs: [x, weight, bias, residual].filter((input) => input !== undefined),
    saved: [...(trained ? [x] : []), ...(activation === "relu" ? [y] : [])],
    backward: (dy) => {
      if (residual) tape.add(residual, dy);
      const dz = activation === "relu" ? reluBackward(gpu, dy, y) : dy;
      tape.accumulate(x, (earlier) => linearInputGrad(gpu, dz, w, earlier));
      if (trained) tape.add(weight, linearWeightGrad(gpu, dz, x));
      if (bias && tape.wants(bias)) tape.add(bias, columnSum(gpu, dz));
    },
  });
}
