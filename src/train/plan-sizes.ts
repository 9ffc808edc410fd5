import { QWEN3 } from "../checkpoint/migrate/reuse.js";
import type { ModelConfig } from "../config/model-config.js";

export type Qwen3Size = "0.6B" | "1.7B" | "4B" | "8B";
export const qwen3Sizes: readonly Qwen3Size[] = ["0.6B", "1.7B", "4B", "8B"];

/** Fun-ASR-Nano's encoder and adaptor before one of the Qwen3 sizes. */
export function sizeConfig(size: Qwen3Size): ModelConfig {
  const llm = QWEN3[`Qwen3-${size}`];
  const { hiddenSize } = llm;
  return {
    encoder: {
      inputSize: 560,
      hiddenSize: 512,
      heads: 4,
      intermediateSize: 2048,
      layers: 49,
      tpLayers: 20,
      fsmnKernelSize: 11,
      layerNormEps: 1e-5,
    },
    adaptor: {
      projectorHiddenSize: 2048,
      hiddenSize,
      heads: 8,
      intermediateSize: hiddenSize / 4,
      layers: 2,
      layerNormEps: 1e-5,
    },
    llm,
    audioTokenId: 151_646,
    audioTokenRule: "all",
    raw: {},
  };
}
