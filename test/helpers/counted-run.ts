import type { ModelConfig } from "../../src/config/model-config.js";
import { type ClipWork, runClips } from "../../src/decode/clip-work.js";
import type { Gpu } from "../../src/gpu/device.js";
import type { WeightFormat } from "../../src/gpu/matrix.js";
import { type TimedRun, Timing } from "../../src/gpu/timing.js";
import { costOf } from "../../src/kernels/cost.js";
import { loadFunAsrNano } from "../../src/model/fun-asr-nano.js";
import type { ParameterSource } from "../../src/weights/loader.js";

/** A run's submits and dispatches, without its times. */
function listed({ dispatches, submits }: TimedRun): { submits: number; dispatches: unknown[] } {
  const shapes = (tensors: TimedRun["dispatches"][number]["dispatch"]["tensors"]): unknown =>
    Object.entries(tensors).map(([name, { shape, dtype }]) => [name, dtype, ...shape]);
  return {
    submits: submits.length,
    dispatches: dispatches.map(({ kernel, dispatch, contents, submit, label, program }) => [
      ...[label, program, submit, kernel.name, dispatch.params, dispatch.groups, dispatch.overrides],
      ...[shapes(dispatch.tensors), costOf(kernel.name, dispatch, contents)],
    ]),
  };
}

/** Bytes of the weights, bytes at the peak, submits and dispatches. */
export interface CountedRun {
  readonly kept: number;
  readonly peak: number;
  readonly run: ReturnType<typeof listed>;
}

/** Loads a model and runs clips, on a device that counts or on a real one. */
export async function countRun(
  gpu: Gpu,
  model: { readonly config: ModelConfig; readonly source: ParameterSource; readonly weights: WeightFormat },
  work: ClipWork,
): Promise<CountedRun> {
  const { config, source, weights } = model;
  const loaded = await loadFunAsrNano(gpu, config, source, { weights });
  const timing = (gpu.timing = new Timing(gpu.device));
  const { kept } = gpu.bytes;
  await runClips(gpu, loaded, work);
  gpu.timing = undefined;
  const run = listed(await timing.collect());
  loaded.free();
  return { kept, peak: gpu.bytes.peak, run };
}
