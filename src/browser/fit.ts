import { openCheckpoint } from "../checkpoint/checkpoint.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { transcription } from "../decode/clip-work.js";
import { GpuError } from "../gpu/errors.js";
import { countingGpu } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import type { Kernel, Overrides } from "../gpu/kernel.js";
import { expectedDevice } from "../kernels/request-gpu.js";
import type { WeightFormat } from "../weights/loader.js";
import { BrowserError } from "./errors.js";

/** A kernel with one set of override values. */
export interface Variant {
  readonly kernel: Kernel;
  readonly overrides: Overrides;
}

interface FitOptions {
  readonly weights?: WeightFormat | undefined;
  readonly subgroups?: boolean | undefined;
}

/**
 * Counts a model on a device of an adapter's kind, from the headers of its files alone.
 * @returns  the kernels that a clip runs, for `Gpu.compile`
 * @throws BrowserError  "limits": a weight passes them; CheckpointError, ConfigError  as openCheckpoint
 */
export async function fit(
  adapter: GPUAdapter,
  files: ModelFiles,
  { weights, subgroups = true }: FitOptions,
): Promise<readonly Variant[]> {
  const checkpoint = await openCheckpoint(files);
  try {
    const counting = countingGpu(expectedDevice(adapter, { subgroups }));
    const variants = watch(counting);
    await transcription(checkpoint.config, checkpoint).count(counting, weights);
    return variants();
  } catch (cause) {
    if (!(cause instanceof GpuError) || cause.constructor !== GpuError) throw cause;
    throw new BrowserError(
      "limits",
      `${files.name}: this graphics adapter's buffers are too small for the model: ${cause.message}; take smaller weights, a smaller model or another device`,
      { cause },
    );
  } finally {
    await checkpoint.close();
  }
}

/** The kernels that a device runs from here on; those of one name may differ in their constants. */
function watch(gpu: Gpu): () => readonly Variant[] {
  const found = new Map<Kernel, Map<string, Variant>>();
  const run = gpu.run.bind(gpu);
  gpu.run = (kernel, dispatch) => {
    const { overrides = {} } = dispatch;
    const variants = found.get(kernel) ?? new Map<string, Variant>();
    found.set(kernel, variants.set(JSON.stringify(overrides), { kernel, overrides }));
    run(kernel, dispatch);
  };
  return () => [...found.values()].flatMap((variants) => [...variants.values()]);
}
