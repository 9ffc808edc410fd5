import type { Gpu } from "../gpu/device.js";
import type { Trainable } from "../gpu/tape.js";
import type { Tensor } from "../gpu/tensor.js";
import { type AdamWOptions, type AdamWState, adamw } from "../kernels/adamw/adamw.js";
import { type GradNorm, gradNorm } from "../kernels/grad-norm/grad-norm.js";

/** A trained parameter with its moments. */
export interface OptimiserEntry extends AdamWState {
  readonly name: string;
}

/** Moments of every trained parameter, kept on the GPU. */
export interface Optimiser {
  readonly entries: readonly OptimiserEntry[];
  /** Gives the moments' memory back. */
  free(): void;
}

/** Zero moments for these parameters. */
export function makeOptimiser(gpu: Gpu, trainables: readonly Trainable[]): Optimiser {
  const entries = trainables.map(({ name, value, gradient }): OptimiserEntry => {
    const moment = (): Tensor => gpu.keep(value.shape, "f32");
    return { name, value, gradient, m: moment(), v: moment() };
  });
  return {
    entries,
    free() {
      for (const { m, v } of entries) for (const tensor of [m, v]) gpu.free(tensor);
    },
  };
}

/**
 * Sets all moments to zero, as at a run's beginning: those of one loss say nothing of another's
 * gradients.
 */
export async function clearMoments(gpu: Gpu, { entries }: Optimiser): Promise<void> {
  await gpu.step(() => {
    for (const { m, v } of entries) for (const tensor of [m, v]) gpu.clear(tensor);
    return [];
  });
}

/**
 * One update of every parameter from its gradient, within the running step; gradients are zero
 * afterwards. Where the norm is not finite nothing changes.
 * @param maxNorm  gradients are scaled down to this global norm; 0: never
 * @param trains   whether a parameter takes part: the others do not decay either. Default: all
 */
export function update(
  gpu: Gpu,
  { entries }: Optimiser,
  maxNorm: number,
  options: AdamWOptions,
  trains: (name: string) => boolean = () => true,
): GradNorm {
  const norm = gradNorm(
    gpu,
    entries.map(({ gradient }) => gradient),
    maxNorm,
  );
  for (const entry of entries) if (trains(entry.name)) adamw(gpu, entry, norm.clip, options);
  return norm;
}
