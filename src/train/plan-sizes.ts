import type { ModelConfig } from "../model/config.js";

/** [hidden size, FFN width, layers, query heads, tied head] of the Qwen3 sizes. @source their config.json */
const sizes = {
  "0.6B": [1024, 3072, 28, 16, true],
  "1.7B": [2048, 6144, 28, 16, true],
  "4B": [2560, 9728, 36, 32, true],
  "8B": [4096, 12_288, 36, 32, false],
} as const;

export type Qwen3Size = keyof typeof sizes;
export const qwen3Sizes = Object.keys(sizes) as Qwen3Size[];

/** Fun-ASR-Nano's encoder and adaptor before one of the Qwen3 sizes. */
export function sizeConfig(size: Qwen3Size): ModelConfig {
  const [hiddenSize, intermediateSize, layers, heads, tiedHead] = sizes[size];
  return {
    encoder: {
      ...{ inputSize: 560, hiddenSize: 512, heads: 4, intermediateSize: 2048 },
      ...{ layers: 49, tpLayers: 20, fsmnKernelSize: 11, layerNormEps: 1e-5 },
    },
    adaptor: {
      ...{ projectorHiddenSize: 2048, hiddenSize, heads: 8, intermediateSize: hiddenSize / 4 },
      ...{ layers: 2, layerNormEps: 1e-5 },
    },
    llm: {
      ...{ vocabSize: 151_936, hiddenSize, intermediateSize, layers, heads, kvHeads: 8, headDim: 128 },
      ...{ rmsNormEps: 1e-6, ropeTheta: 1e6, tiedHead, maxPositions: 40_960 },
    },
    audioTokenId: 151_646,
    audioTokenRule: "all",
    raw: {},
  };
}
