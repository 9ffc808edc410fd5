import { elementCount } from "../shape.js";
import { ShapeError } from "./errors.js";

export { elementCount };

/** Storage types on the GPU. bf16 and f16 are packed two to a u32, low half first. */
export type DType = "f32" | "bf16" | "f16" | "u32";

const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, u32: 4, bf16: 2, f16: 2 };

/**
 * A GPU buffer as the pools know it; the id orders reuse and names the buffer in bind group keys.
 */
export interface Allocation {
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly bytes: number;
  /** Set when the device has said that it had no room: the buffer cannot be used. */
  refused?: boolean;
}

/**
 * A dense row-major array on the GPU. It owns nothing: its lifetime is that of the scope it was
 * made in.
 */
export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly bytes: number;
  readonly allocation: Allocation;
  /** Bytes of the buffer before a uniform binding of it. Default: 0. */
  readonly offset?: number;
}

/** Bytes that a tensor takes on the GPU, rounded up to a whole u32. */
export function byteCount(shape: readonly number[], dtype: DType): number {
  return Math.ceil((elementCount(shape) * bytesPerElement[dtype]) / 4) * 4;
}

/** True for a tensor, false for any other value. */
function isTensor(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "allocation" in value && "dtype" in value;
}

/** Tensors found in a value: a tensor, or arrays and plain objects of them. */
export function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(tensorsIn);
  return [];
}

/** The two dimensions of a matrix argument. @throws ShapeError  another rank */
export function expectMatrix(op: string, args: Readonly<Record<string, Tensor>>): [number, number] {
  const [[name, tensor]] = Object.entries(args);
  if (tensor.shape.length !== 2) {
    throw new ShapeError(`${op}: ${name} must have 2 dimensions, got [${tensor.shape.join(", ")}]`);
  }
  return [tensor.shape[0], tensor.shape[1]];
}

/**
 * Checks the shape of every given tensor.
 * @throws ShapeError  naming the argument, expected and got
 */
export function expectShape(
  op: string,
  args: Readonly<Record<string, Tensor | undefined>>,
  shape: readonly number[],
): void {
  for (const [name, tensor] of Object.entries(args)) {
    if (!tensor) continue;
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw new ShapeError(`${op}: ${name} must be [${shape.join(", ")}], got [${tensor.shape.join(", ")}]`);
    }
  }
}

/**
 * Checks the dtype of every given tensor.
 * @throws ShapeError  naming the argument, expected and got
 */
export function expectDType(
  op: string,
  args: Readonly<Record<string, Tensor | undefined>>,
  dtype: DType,
): void {
  for (const [name, tensor] of Object.entries(args)) {
    if (tensor && tensor.dtype !== dtype) {
      throw new ShapeError(`${op}: ${name} must be ${dtype}, got ${tensor.dtype}`);
    }
  }
}
