import type { Gpu } from "../gpu/device.js";
import type { Segments } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import { layerNorm } from "../kernels/layer-norm/layer-norm.js";
import { positions, sinusoids } from "../kernels/positions/positions.js";
import type { EncoderConfig } from "../config/model-config.js";
import {
  type EncoderLayer,
  type LayerNorm,
  encoderLayer,
  loadEncoderLayer,
  loadLayerNorm,
} from "./encoder-layer.js";
import { type ParameterLoader, all } from "../weights/loader.js";
import { type Tap, noTap } from "./taps.js";

/**
 * SenseVoice's SAN-M encoder: stem, transcription layers, norm, timestamp-prediction layers, norm.
 */
export interface SanmEncoder {
  readonly config: EncoderConfig;
  readonly stem: EncoderLayer;
  readonly layers: readonly EncoderLayer[];
  readonly norm: LayerNorm;
  readonly tpLayers: readonly EncoderLayer[];
  /** Of the last timestamp-prediction layer; absent where the encoder has none. */
  readonly tpNorm?: LayerNorm;
}

export async function loadSanmEncoder(load: ParameterLoader, config: EncoderConfig): Promise<SanmEncoder> {
  const at = (i: number): string => `model.audio_tower.layers.${i}`;
  const last = config.layers + config.tpLayers;
  const norm = (layer: number): Promise<LayerNorm> => loadLayerNorm(load, `${at(layer)}.final_layernorm`);
  const layer = (_: unknown, i: number): Promise<EncoderLayer> =>
    loadEncoderLayer(load, at(i), { memory: true });
  const { layers, ...norms } = await all({
    layers: Promise.all(Array.from({ length: last + 1 }, layer)),
    norm: norm(config.layers),
    tpNorm: config.tpLayers > 0 ? norm(last) : undefined,
  });
  return {
    config,
    stem: layers[0],
    layers: layers.slice(1, config.layers + 1),
    tpLayers: layers.slice(config.layers + 1),
    ...norms,
  };
}

/**
 * Features of packed clips → encoder states.
 * @param features  [T, 560] f32
 * @returns         [T, D] f32
 * @source transformers FunAsrNanoEncoder
 */
export function sanmEncoder(
  gpu: Gpu,
  w: SanmEncoder,
  features: Tensor,
  segments: Segments,
  tap: Tap = noTap,
): Tensor {
  const { hiddenSize, inputSize } = w.config;
  const run = (input: Tensor, layers: readonly EncoderLayer[], stage: (i: number) => string): Tensor =>
    gpu.chain(input, layers, (x, layer, i) => {
      const output = encoderLayer(gpu, layer, x, segments, w.config);
      tap(stage(i), output);
      return output;
    });
  const norm = ({ weight, bias }: LayerNorm, input: Tensor, stage: string): Tensor => {
    const output = layerNorm(gpu, input, weight, bias, w.config.layerNormEps);
    tap(stage, output);
    return output;
  };
  const table = gpu.upload(sinusoids(segments.longest, inputSize), [segments.longest, inputSize]);
  let x = positions(gpu, features, table, Math.sqrt(hiddenSize), segments);
  x = run(x, [w.stem], () => "encoder.stem");
  x = run(x, w.layers, (i) => `encoder.layers.${i}`);
  x = norm(w.norm, x, "encoder.norm");
  x = run(x, w.tpLayers, (i) => `encoder.tp_layers.${i}`);
  return w.tpNorm ? norm(w.tpNorm, x, "encoder.output") : x;
}
