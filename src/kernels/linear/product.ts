import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix } from "../../gpu/tensor.js";
import { type LinearKernel, linearKernel, normedKernel, subgroupBlock } from "./family.js";

/** RMSNorm of a product's input. */
export interface InputNorm {
  /** [K] f32 */
  readonly gamma: Tensor;
  readonly eps: number;
}

const activations = { none: 0, relu: 1, swiglu: 2 };

/** The kernel that normalises x itself, where nothing else needs the normalised x. */
export function fusedNorm(gpu: Gpu, x: Tensor, w: Matrix, { gamma }: InputNorm): LinearKernel | undefined {
  const [rows, width] = expectInput(x, w);
  const fits = gamma.dtype === "f32" && gamma.shape.length === 1 && gamma.shape[0] === width;
  if (!fits || gpu.tape !== undefined) return undefined;
  return normedKernel(gpu, w.format, rows, width);
}

/** [M, K] of x. @throws ShapeError  it does not fit w */
export function expectInput(x: Tensor, w: Matrix): [number, number] {
  const [rows, width] = expectMatrix("linear", { x });
  expectDType("linear", { x }, "f32");
  if (width !== w.columns) throw new ShapeError(`linear: w must have ${width} columns, got ${w.columns}`);
  if (width % 4 !== 0) throw new ShapeError(`linear: x must have a multiple of 4 columns, got ${width}`);
  return [rows, width];
}

interface ProductOptions {
  /** Only where `fusedNorm` has a kernel. */
  readonly norm?: InputNorm;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
  /** swiglu for one row and the subgroup family only. */
  readonly activation: keyof typeof activations;
}

/** `linear` and `linearSwiglu` as dispatches: arguments are checked by the caller, nothing is put on a tape. */
export function product(gpu: Gpu, x: Tensor, w: Matrix, options: ProductOptions): Tensor {
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
