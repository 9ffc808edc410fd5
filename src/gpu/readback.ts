import type { Pool } from "./arena.js";
import { mapRead } from "./flags.js";
import type { Allocation, Tensor } from "./tensor.js";
import type { Timing } from "./timing.js";

export type TensorData = Float32Array | Uint32Array;

/** A tensor's contents on their way to the host. */
export interface Readback {
  readonly tensor: Tensor;
  readonly staging: Allocation;
  readonly resolve: (data: TensorData) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Waits for the copies of a submitted step and hands them over.
 * @param failure  of the step: every reader is told, and it is thrown
 */
export async function handOver(
  reads: readonly Readback[],
  pool: Pool,
  failure: { readonly error: unknown } | undefined,
  timing?: Timing,
): Promise<void> {
  try {
    if (failure) throw failure.error as Error;
    await Promise.all(reads.map(({ staging }) => staging.buffer.mapAsync(mapRead)));
  } catch (error) {
    for (const { staging, reject } of reads) {
      reject(error);
      pool.discard(staging); // it may be mapped, or about to be
    }
    throw error;
  }
  const copy = (): void => {
    for (const { tensor, staging, resolve } of reads) {
      const data = staging.buffer.getMappedRange(0, tensor.bytes).slice(0);
      staging.buffer.unmap();
      pool.give(staging);
      resolve(tensor.dtype === "f32" ? new Float32Array(data) : new Uint32Array(data));
    }
  };
  if (timing) timing.span("read", copy);
  else copy();
}
