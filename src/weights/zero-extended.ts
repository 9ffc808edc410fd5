import { elementCount } from "../shape.js";
import type { ParameterEntry, ParameterSource } from "./loader.js";

/** A tensor in memory: row-major values. */
export interface HeldTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * Tensors in memory as a source of f32 parameters in other shapes: zeros stand behind each row and
 * behind the last one. A row is what the first dimension counts.
 * @param name    the source's name in errors
 * @param shapes  no dimension smaller than the tensor's
 */
export function zeroExtended(
  name: string,
  held: ReadonlyMap<string, HeldTensor>,
  shapes: ReadonlyMap<string, readonly number[]>,
): ParameterSource {
  const tensors = new Map<string, ParameterEntry>();
  const values = new Map<string, Float32Array>();
  for (const [key, shape] of shapes) {
    const tensor = held.get(key);
    if (!tensor) continue; // the loader names it
    tensors.set(key, { name: key, dtype: "F32", shape, byteLength: 4 * elementCount(shape) });
    values.set(key, extended(tensor, shape));
  }
  return {
    name,
    tensors,
    read: ({ name: key }, byteOffset, byteLength) =>
      Promise.resolve(new Uint8Array(values.get(key)!.buffer, byteOffset, byteLength)),
  };
}

function extended({ shape, data }: HeldTensor, [rows, ...rest]: readonly number[]): Float32Array {
  const columns = elementCount(rest);
  const own = elementCount(shape.slice(1));
  const values = new Float32Array(rows * columns);
  for (let r = 0; r < shape[0]; r++) values.set(data.subarray(r * own, (r + 1) * own), r * columns);
  return values;
}
