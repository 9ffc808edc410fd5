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

interface StepOutcome {
  readonly failure: { readonly error: unknown } | undefined;
  /** What the device says of the step. */
  readonly checks: readonly Promise<void>[];
}

/**
 * Waits for the copies of a submitted step and hands them over. They are asked for beside the checks, not after them: each answer
 * of the device that is waited for may cost a sleep.
 * @param outcome  of the step: what failed on the host, else the first check that rejects, is told to every reader, and thrown
 */
export async function handOver(
  reads: readonly Readback[],
  pool: Pool,
  { failure, checks }: StepOutcome,
  timing?: Timing,
): Promise<void> {
  const mapped = Promise.all(reads.map(({ staging }) => staging.buffer.mapAsync(mapRead)));
  mapped.catch(() => undefined); // a refusal is told first
  try {
    const refused = (await Promise.allSettled(checks)).find((check) => check.status === "rejected");
    if (failure) throw failure.error as Error;
    if (refused) throw refused.reason as Error;
    await mapped;
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
