import type { Gpu } from "../../gpu/device.js";
import { ShapeError } from "../../gpu/errors.js";
import { type Matrix, weightCode } from "../../gpu/matrix.js";
import { type Tensor, expectDType, expectMatrix } from "../../gpu/tensor.js";
import { type LinearVariant, linearVariant, normedVariant, uniformVariant } from "./variants.js";
import { rowWindows } from "./windows.js";

/** RMSNorm of a product's input. */
export interface InputNorm {
  /** [K] f32 */
  readonly gamma: Tensor;
  readonly eps: number;
}

const activations = { none: 0, relu: 1, swiglu: 2 };

/** The kernel that normalises x itself, where nothing else needs the normalised x. */
export function fusedNorm(gpu: Gpu, x: Tensor, w: Matrix, { gamma }: InputNorm): LinearVariant | undefined {
  const [rows, width] = expectInput(x, w);
  const fits = gamma.dtype === "f32" && gamma.shape.length === 1 && gamma.shape[0] === width;
  if (!fits || gpu.tape !== undefined) return undefined;
  return normedVariant(gpu, w, rows);
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
  /** swiglu for one row and kernels for subgroups only. */
  readonly activation: keyof typeof activations;
}

/**
 * `linear` and `linearSwiglu` as dispatches: arguments are checked by the caller, nothing is put on
 * a tape.
 */
export function product(gpu: Gpu, x: Tensor, w: Matrix, options: ProductOptions): Tensor {
  const [rows, width] = x.shape;
  const { norm, bias, residual, activation } = options;
  const halves = activation === "swiglu" ? 2 : 1;
  const y_columns = w.rows / halves;
  const y = gpu.empty([rows, y_columns]);
  const uniform = uniformVariant(gpu, w, rows);
  if (uniform) {
    runWindows(gpu, uniform, { x, w, bias, residual, activation, y });
    return y;
  }
  const {
    kernel,
    workgroups = Infinity,
    ...tile
  } = (norm && fusedNorm(gpu, x, w, norm)) ?? linearVariant(gpu, w, rows);
  const gamma: Readonly<Record<string, Tensor>> = kernel.bindings.some(({ name }) => name === "gamma")
    ? { gamma: norm?.gamma ?? x }
    : {};
  for (const { first, rows: pieceRows, tensor, scales } of w.pieces) {
    const columns = pieceRows / halves;
    const strips = Math.ceil(columns / (tile.columns / halves));
    const tiles = Math.max(1, Math.ceil(strips / workgroups));
    gpu.run(kernel, {
      params: {
        rows,
        k4: width / 4,
        columns,
        first,
        y_columns,
        has_bias: bias ? 1 : 0,
        has_residual: residual ? 1 : 0,
        tiles,
        unit: 4,
        eps: norm?.eps ?? 0,
      },
      // What is absent binds any array.
      tensors: {
        x,
        w: tensor,
        scales: scales ?? tensor,
        bias: bias ?? x,
        residual: residual ?? x,
        ...gamma,
        y,
      },
      groups: Math.ceil(rows / tile.rows) * Math.ceil(strips / tiles),
      overrides: { WEIGHT: weightCode(w.format), ACTIVATION: activations[activation] },
    });
  }
  return y;
}

/** The product of weights that are read through uniform windows, a dispatch each. */
function runWindows(
  gpu: Gpu,
  { kernel, ...tile }: LinearVariant,
  { x, w, bias, residual, activation, y }: ProductOptions & { x: Tensor; w: Matrix; y: Tensor },
): void {
  const [rows, y_columns] = y.shape;
  const has_bias = bias ? 1 : 0;
  const has_residual = residual ? 1 : 0;
  for (const { tensor, first, start } of rowWindows(w, tile.columns)) {
    const [columns, width] = tensor.shape;
    gpu.run(kernel, {
      params: { rows, k4: width / 4, columns, first, y_columns, start, has_bias, has_residual },
      tensors: { x, w: tensor, bias: bias ?? x, residual: residual ?? x, y },
      groups: Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns),
      overrides: { ACTIVATION: activations[activation] },
    });
  }
}
