import { GpuError } from "./errors.js";
import { type Pool, mapRead } from "./memory.js";
import type { Allocation, Tensor } from "./tensor.js";
import type { Timing } from "./timing.js";

/** Values read back from the GPU: f32, or u32 where the tensor holds ids. */
export type TensorData = Float32Array | Uint32Array;

/** A tensor's contents on their way to the host. */
export interface Readback {
  readonly tensor: Tensor;
  readonly staging: Allocation;
  readonly resolve: (data: TensorData) => void;
  readonly reject: (error: unknown) => void;
}

/** What became of a submitted step. */
interface StepOutcome {
  readonly failure: { readonly error: unknown } | undefined;
  /** What the device says of the step. */
  readonly checks: readonly Promise<void>[];
  /** Of `beginMapping`. */
  readonly mapped: Promise<unknown>;
}

/**
 * Records the copy of a tensor, as it is at this point of the step, and puts it on the list.
 * @returns  what the step hands over
 */
export function copyOut(
  tensor: Tensor,
  pool: Pool,
  commands: GPUCommandEncoder,
  reads: Readback[],
): Promise<TensorData> {
  const staging = pool.take(tensor.bytes);
  commands.copyBufferToBuffer(tensor.allocation.buffer, 0, staging.buffer, 0, tensor.bytes);
  const data = new Promise<TensorData>((resolve, reject) => {
    reads.push({ tensor, staging, resolve, reject });
  });
  data.catch(() => undefined); // the step reports the failure too
  return data;
}

/**
 * Asks for the copies of a submitted step, within its error scope: what is wrong with the asking
 * belongs to the step as well. They are asked for beside the checks, not after them: each answer of
 * the device that is waited for may cost a sleep.
 */
export function beginMapping(reads: readonly Readback[], loss: DeviceLoss): Promise<unknown> {
  const copies = Promise.all(reads.map(async ({ staging }) => staging.buffer.mapAsync(mapRead)));
  const mapped = loss.explain(copies);
  mapped.catch(() => undefined); // `handOver` throws it, unless a refusal comes first
  return mapped;
}

/**
 * Waits for the copies of a submitted step and hands them over.
 * @param outcome  of the step: the failure on the host, else the first check that rejects, else a
 *                 mapping that does. Every reader gets it, and it is thrown
 */
export async function handOver(
  reads: readonly Readback[],
  pool: Pool,
  { failure, checks, mapped }: StepOutcome,
  timing?: Timing,
): Promise<void> {
  try {
    const refused = (await Promise.allSettled(checks)).find((check) => check.status === "rejected");
    if (failure) throw failure.error as Error;
    if (refused) throw refused.reason as Error;
    await mapped;
  } catch (error) {
    if (!failure && error instanceof GpuError) error.reported = true;
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

const announced = 100; // ms within which a device announces its loss, once its promises reject

/** Whether a device is lost, and what its rejected promises mean. */
export class DeviceLoss {
  #message: string | undefined; // what to report, once it is lost
  readonly #lost: Promise<string>;

  constructor(device: GPUDevice) {
    this.#lost = device.lost.then(
      (info) => (this.#message = `the device is lost: ${info.message}; open another`),
    );
  }

  get known(): boolean {
    return this.#message !== undefined;
  }

  /** @throws GpuError  the device is lost */
  check(): void {
    if (this.#message !== undefined) throw new GpuError(this.#message, { lost: true });
  }

  /**
   * An answer of the device. Promises of a lost device reject with errors of other kinds, often
   * without a message.
   * @throws GpuError
   */
  async explain<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof GpuError) throw error;
      const silent = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), announced));
      const { name, message } = error as Error;
      const lost = await Promise.race([this.#lost, silent]);
      throw new GpuError(lost ?? `the device failed: ${message || name}`, {
        cause: error,
        lost: lost !== undefined,
      });
    }
  }
}
