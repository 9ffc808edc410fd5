import type { ModelConfig } from "../config/model-config.js";
import { countingGpu } from "../gpu/counting.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { loadAdaptor } from "../model/adaptor.js";
import { loadFunAsrNano } from "../model/fun-asr-nano.js";
import { KvCache } from "../model/kv-cache.js";
import { ParameterLoader } from "../weights/loader.js";
import { shapeSource } from "../weights/shapes.js";
import { makeOptimiser } from "./optimiser.js";

/** Bytes on the GPU. */
export interface Footprint {
  /** Of all weights, as loaded in this format: norms, biases and FSMN taps are f32. */
  readonly weights: number;
  /** With the cache of so many tokens. */
  readonly run: number;
  /**
   * The adaptor trained, all else frozen: its values, gradients and two moments in f32. Without
   * activations, which grow with the batch.
   */
  readonly train: number;
}

/**
 * Memory that a model needs, loaded on a device that counts.
 * @param tokens  of the cache: prompt, audio and answer
 */
export async function footprint(
  config: ModelConfig,
  weights: WeightFormat,
  tokens: number,
): Promise<Footprint> {
  const gpu = countingGpu();
  const source = shapeSource(config);
  await loadFunAsrNano(gpu, config, source, { weights });
  const loaded = gpu.bytes.kept;
  new KvCache(gpu, { ...config.llm, maxPositions: tokens }, [tokens]);
  const run = gpu.bytes.kept;
  await loadAdaptor(new ParameterLoader(gpu, source, { weights }), config.adaptor);
  const frozen = loaded - (gpu.bytes.kept - run);
  const before = gpu.bytes.kept;
  const load = new ParameterLoader(gpu, source, { tune: () => true });
  await loadAdaptor(load, config.adaptor);
  makeOptimiser(gpu, load.trainables);
  return { weights: loaded, run, train: frozen + gpu.bytes.kept - before };
}
