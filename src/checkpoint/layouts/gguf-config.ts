import { type JsonObject } from "../../json.js";
import { parseLlmConfig, parseModelConfig } from "../../config/model-config.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import type { GgufFile } from "../gguf/gguf.js";
import type { GgufMetadata } from "../gguf/metadata.js";

/**
 * Of all norms; no key has it.
 * @source FunASR `runtime/llama.cpp/fun-asr-nano/funasr-cli/funasr-cli.cpp`, LN_EPS
 */
const LAYER_NORM_EPS = 1e-5;

/** The parts of a pair's config that no key has. */
export interface PairFacts {
  /** The LLM's head is its embedding. */
  readonly tiedHead: boolean;
  readonly audioTokenId: number;
}

/**
 * The config of a pair. The metadata becomes a config.json of transformers, which parseModelConfig
 * reads.
 * @throws CheckpointError  a key is missing, has a wrong type or is not implemented, or the files
 *   are of different models
 * @throws ConfigError      the numbers contradict each other
 * @source FunASR `runtime/llama.cpp/fun-asr-nano/export_encoder_gguf.py`; `funasr-cli.cpp`, which
 *   feeds only the low-frame-rate rows
 */
export function readPairConfig(
  encoder: GgufFile,
  llm: GgufFile,
  { tiedHead, audioTokenId }: PairFacts,
): ModelConfig {
  const m = encoder.metadata;
  const text = llmJson(llm, tiedHead);
  checkSameModel(m, llm, text["hidden_size"] as number);
  const layers = m.integer("funasr.adp.n_layer", 0);
  const json = {
    model_type: "fun_asr_nano",
    audio_config: audioJson(m),
    adaptor_config: {
      hidden_size: m.integer("funasr.adp.llm_dim"),
      num_attention_heads: m.integer("funasr.adp.attention_heads"),
      num_hidden_layers: layers,
      intermediate_size: adaptorWidth(encoder, layers),
      projector_hidden_size: m.integer("funasr.adp.ffn_dim"),
      layer_norm_eps: LAYER_NORM_EPS,
      use_low_frame_rate: true,
    },
    text_config: text,
    tie_word_embeddings: tiedHead,
    audio_token_id: audioTokenId,
  };
  return parseModelConfig(json, `${encoder.source.name} and ${llm.source.name}`);
}

/** The config of a Qwen3 file. @throws CheckpointError, ConfigError  as readPairConfig */
export function readLlmConfig(llm: GgufFile, tiedHead: boolean): LlmConfig {
  return parseLlmConfig(llmJson(llm, tiedHead), llm.source.name);
}

/** FunASR's front-end: the waveform is scaled to 16-bit numbers, without dither. */
export function frontendJson({ metadata: m }: GgufFile): JsonObject {
  return {
    num_mel_bins: m.integer("funasr.frontend.n_mels"),
    num_frames_lfr: m.integer("funasr.frontend.lfr_m"),
    stride_lfr: m.integer("funasr.frontend.lfr_n"),
    waveform_scale: 32_768,
    dither: 0,
  };
}

function audioJson(m: GgufMetadata): JsonObject {
  expectInteger(m, "funasr.enc.sanm_shfit", 0); // [sic]
  expectInteger(m, "funasr.adp.downsample_rate", 1);
  const bins = m.integer("funasr.frontend.n_mels");
  const stack = m.integer("funasr.frontend.lfr_m");
  const key = "funasr.enc.input_size";
  if (m.integer(key) !== bins * stack)
    throw m.refusal(key, `${bins * stack}, as funasr.frontend.n_mels times funasr.frontend.lfr_m`);
  const tp = m.integer("funasr.enc.tp_blocks", 0);
  return {
    model_type: "fun_asr_nano_encoder",
    num_mel_bins: bins,
    num_stacked_frames: stack,
    hidden_size: m.integer("funasr.enc.output_size"),
    num_attention_heads: m.integer("funasr.enc.attention_heads"),
    intermediate_size: m.integer("funasr.enc.linear_units"),
    num_hidden_layers: m.integer("funasr.enc.num_blocks") + tp, // num_blocks counts the stem
    num_timestamp_prediction_layers: tp,
    fsmn_kernel_size: m.integer("funasr.enc.kernel_size"),
    layer_norm_eps: LAYER_NORM_EPS,
  };
}

/** Refuses another value of an optional key. */
function expectInteger(m: GgufMetadata, key: string, value: number): void {
  if (m.has(key) && m.integer(key, 0) !== value)
    throw m.refusal(key, `${value}`, "nothing else is implemented");
}

/** Inner width of the adaptor's blocks, by their tensors: funasr.adp.ffn_dim is the projector's. */
function adaptorWidth(file: GgufFile, layers: number): number {
  if (layers === 0) return 4; // any valid width
  return matrixRows(file, "audio_adaptor.blocks.0.feed_forward.w_1.weight");
}

function checkSameModel(encoder: GgufMetadata, llm: GgufFile, width: number): void {
  const advice = "the two files are of different models";
  const key = "funasr.adp.llm_dim";
  if (encoder.integer(key) !== width)
    throw encoder.refusal(key, `${width}, the width of ${llm.source.name}`, advice);
  const inner = "funasr.adp.encoder_dim";
  const outer = encoder.integer("funasr.enc.output_size");
  if (encoder.has(inner) && encoder.integer(inner) !== outer)
    throw encoder.refusal(inner, `${outer}, as funasr.enc.output_size`);
}

/** @source gguf (Python) `constants.py`, Keys.LLM, Keys.Attention, Keys.Rope */
function llmJson(llm: GgufFile, tiedHead: boolean): JsonObject {
  const m = llm.metadata;
  if (m.has("split.count") && m.integer("split.count", 0) > 1)
    throw m.refusal("split.count", "1: the model in one file", "merge it with llama-gguf-split");
  const headDim = m.integer("qwen3.attention.key_length");
  expectInteger(m, "qwen3.attention.value_length", headDim);
  expectInteger(m, "qwen3.rope.dimension_count", headDim);
  expectInteger(m, "qwen3.attention.sliding_window", 0);
  const vocabSize = embeddingRows(llm);
  expectInteger(m, "qwen3.vocab_size", vocabSize);
  return {
    model_type: "qwen3",
    vocab_size: vocabSize,
    hidden_size: m.integer("qwen3.embedding_length"),
    intermediate_size: m.integer("qwen3.feed_forward_length"),
    num_hidden_layers: m.integer("qwen3.block_count"),
    num_attention_heads: m.integer("qwen3.attention.head_count"),
    num_key_value_heads: m.integer("qwen3.attention.head_count_kv"),
    head_dim: headDim,
    rms_norm_eps: m.positive("qwen3.attention.layer_norm_rms_epsilon"),
    rope_parameters: ropeJson(m),
    max_position_embeddings: m.integer("qwen3.context_length"),
    tie_word_embeddings: tiedHead,
  };
}

function ropeJson(m: GgufMetadata): JsonObject {
  const rope_theta = m.positive("qwen3.rope.freq_base");
  const key = "qwen3.rope.scaling.type";
  if (!m.has(key) || m.value(key) === "none") return { rope_type: "default", rope_theta };
  return {
    rope_type: m.string(key),
    rope_theta,
    factor: m.positive("qwen3.rope.scaling.factor"),
    original_max_position_embeddings: m.integer("qwen3.rope.scaling.original_context_length"),
  };
}

/** Rows of the embedding: the vocabulary's size. Only some files have a key for it. */
export function embeddingRows(file: GgufFile): number {
  return matrixRows(file, "token_embd.weight");
}

function matrixRows({ tensors, source }: GgufFile, name: string): number {
  const shape = tensors.get(name)?.shape;
  if (shape?.length === 2) return shape[0];
  const got = shape ? `${shape.length} dimensions` : "none";
  throw checkpointError(source.name, tensorField(name), "a matrix of that name", got);
}

/** @throws CheckpointError  another architecture */
export function checkArchitecture(metadata: GgufMetadata, architecture: string): void {
  const key = "general.architecture";
  if (metadata.string(key) !== architecture)
    throw metadata.refusal(key, `"${architecture}"`, "is this the right file?");
}
