import { type JsonObject } from "../../json.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import type { Dtype } from "../../formats/dtypes.js";

/** The fields of config.json that ModelConfig does not have. */
export interface HfConfigDetails {
  readonly melBins: number;
  /** Mel frames stacked into one of the encoder's. */
  readonly stackedFrames: number;
  /** Type that transformers loads the weights in. */
  readonly dtype: keyof typeof TORCH_DTYPES;
}

const TORCH_DTYPES = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const satisfies Partial<
  Record<Dtype, string>
>;

/**
 * config.json of the transformers layout; parseModelConfig reads it back to the same ModelConfig.
 * Only this package uses `audio_token_rule`, `encoder_sha256` and `merge_length_s`: transformers
 * keeps them and always takes every audio row.
 * @source transformers 5.23 `configuration_fun_asr_nano.py`, `configuration_qwen3.py`
 */
export function hfConfig(config: ModelConfig, details: HfConfigDetails): JsonObject {
  const { encoder: e, adaptor: a, llm } = config;
  return {
    architectures: ["FunAsrNanoForConditionalGeneration"],
    model_type: "fun_asr_nano",
    dtype: TORCH_DTYPES[details.dtype],
    audio_token_id: config.audioTokenId,
    audio_token_rule: config.audioTokenRule,
    ...(config.encoderSha256 === undefined ? {} : { encoder_sha256: config.encoderSha256 }),
    ...(config.mergeSeconds === undefined ? {} : { merge_length_s: config.mergeSeconds }),
    tie_word_embeddings: llm.tiedHead,
    audio_config: {
      model_type: "fun_asr_nano_encoder",
      num_mel_bins: details.melBins,
      num_stacked_frames: details.stackedFrames,
      hidden_act: "relu",
      hidden_size: e.hiddenSize,
      num_attention_heads: e.heads,
      intermediate_size: e.intermediateSize,
      num_hidden_layers: 1 + e.layers + e.tpLayers,
      num_timestamp_prediction_layers: e.tpLayers,
      fsmn_kernel_size: e.fsmnKernelSize,
      layer_norm_eps: e.layerNormEps,
    },
    adaptor_config: {
      hidden_act: "relu",
      projector_hidden_act: "relu",
      hidden_size: a.hiddenSize,
      num_attention_heads: a.heads,
      intermediate_size: a.intermediateSize,
      num_hidden_layers: a.layers,
      projector_hidden_size: a.projectorHiddenSize,
      layer_norm_eps: a.layerNormEps,
    },
    text_config: hfTextConfig(llm),
  };
}

/** config.json of a Qwen3; parseLlmConfig reads it back to the same LlmConfig. */
export function hfTextConfig(llm: LlmConfig): JsonObject {
  return {
    model_type: "qwen3",
    hidden_act: "silu",
    attention_bias: false,
    vocab_size: llm.vocabSize,
    hidden_size: llm.hiddenSize,
    intermediate_size: llm.intermediateSize,
    num_hidden_layers: llm.layers,
    num_attention_heads: llm.heads,
    num_key_value_heads: llm.kvHeads,
    head_dim: llm.headDim,
    rms_norm_eps: llm.rmsNormEps,
    max_position_embeddings: llm.maxPositions,
    tie_word_embeddings: llm.tiedHead,
    rope_parameters: ropeParameters(llm),
  };
}

function ropeParameters({ ropeTheta, ropeScaling: yarn }: LlmConfig): JsonObject {
  if (!yarn) return { rope_type: "default", rope_theta: ropeTheta };
  return {
    rope_type: "yarn",
    rope_theta: ropeTheta,
    factor: yarn.factor,
    original_max_position_embeddings: yarn.originalMaxPositions,
    attention_factor: yarn.attentionFactor,
    beta_fast: yarn.betaFast,
    beta_slow: yarn.betaSlow,
    truncate: yarn.truncate,
  };
}
