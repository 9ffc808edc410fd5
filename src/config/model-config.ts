import { ConfigError } from "../formats/errors.js";
import { type Merging, readMerging } from "./merging.js";
import { ConfigReader } from "./reader.js";
import type { YarnScaling } from "./yarn.js";
import { parseRope } from "./rotary.js";

/** SAN-M encoder. */
export interface EncoderConfig {
  /** Mel bins × stacked frames (560). */
  inputSize: number;
  /** D (512). */
  hiddenSize: number;
  /** H (4). */
  heads: number;
  /** F (2048). */
  intermediateSize: number;
  /** Transcription layers after the stem (49). */
  layers: number;
  /** Timestamp-prediction layers (20), which follow them. */
  tpLayers: number;
  /** Taps of the FSMN memory (11): (k - 1) >> 1 to the left, the rest to the right. */
  fsmnKernelSize: number;
  layerNormEps: number;
}

/** Adaptor: two linears, then bidirectional blocks at the LLM's width. */
export interface AdaptorConfig {
  /** Width between the two linears (2048). */
  projectorHiddenSize: number;
  /** The LLM's D. */
  hiddenSize: number;
  /** Always 8 in the released checkpoints, so the head dim grows with the LLM. */
  heads: number;
  /** F, a quarter of hiddenSize in the released checkpoints. */
  intermediateSize: number;
  layers: number;
  layerNormEps: number;
}

/** Qwen3. */
export interface LlmConfig {
  /** V. */
  vocabSize: number;
  /** D. */
  hiddenSize: number;
  /** F. */
  intermediateSize: number;
  /** L. */
  layers: number;
  /** Query heads. */
  heads: number;
  kvHeads: number;
  /** K, independent of hiddenSize / heads. */
  headDim: number;
  rmsNormEps: number;
  ropeTheta: number;
  /** Absent: positions as the model was trained with. */
  ropeScaling?: YarnScaling;
  /** The head is the embedding matrix. */
  tiedHead: boolean;
  /** Longest context, tokens. */
  maxPositions: number;
}

/** How many of the adaptor's rows reach the LLM: see audioTokens. */
export type AudioTokenRule = "all" | "low_frame_rate";

/** The fields of a checkpoint's config.json that the engine uses. */
export interface ModelConfig extends Merging {
  encoder: EncoderConfig;
  adaptor: AdaptorConfig;
  llm: LlmConfig;
  /** Audio embeddings replace this token. */
  audioTokenId: number;
  audioTokenRule: AudioTokenRule;
  /** SHA-256, hex, of the encoder that the adaptor was trained with: see encoderSha256. */
  encoderSha256?: string | undefined;
  /** config.json as parsed. */
  raw: unknown;
}

/** The parts of a model: all, or only the LLM. */
export type ModelParts = Pick<ModelConfig, "llm"> & Partial<Pick<ModelConfig, "encoder" | "adaptor">>;

/**
 * Reads config.json of a Fun-ASR-Nano checkpoint in any released spelling: transformers 5.17 to
 * 5.23, or the hub's two earlier ones.
 * @param json  the parsed file
 * @param file  its name in errors
 * @throws ConfigError  a field is missing, has a wrong type, is out of range, contradicts another,
 *   or is not implemented
 * @source transformers 5.23 `configuration_fun_asr_nano.py`, `configuration_qwen3.py`
 */
export function parseModelConfig(json: unknown, file = "config.json"): ModelConfig {
  const root = ConfigReader.of(json, file);
  root.oneOf("model_type", ["fun_asr_nano"], "fun_asr_nano");
  refuseQuantised(root);
  const encoder = parseEncoder(root);
  const text = root.section("text_config");
  const tied = root.has("tie_word_embeddings") ? root : text; // the outer flag decides in transformers
  const llm = parseQwen3(text, tied.boolean("tie_word_embeddings"));
  const adaptor = parseAdaptor(root, llm.hiddenSize);
  const old = !root.has("audio_token_id") && root.has("audio_token_index");
  const idField = old ? "audio_token_index" : "audio_token_id";
  const audioTokenId = root.integer(idField, { least: 0 });
  if (audioTokenId >= llm.vocabSize) {
    throw root.refusal(idField, `an id below text_config.vocab_size ${llm.vocabSize}`, audioTokenId);
  }
  const rest = { ...parseHash(root), ...readMerging(root) };
  return { encoder, adaptor, llm, audioTokenId, audioTokenRule: parseRule(root), ...rest, raw: json };
}

/** Reads config.json of a Qwen3 language model. @throws ConfigError  as parseModelConfig */
export function parseLlmConfig(json: unknown, file = "config.json"): LlmConfig {
  const root = ConfigReader.of(json, file);
  refuseQuantised(root);
  return parseQwen3(root, root.boolean("tie_word_embeddings"));
}

/**
 * The number of adaptor rows that reach the LLM. "all": T. "low_frame_rate": the first ⌊(b − 1)/2⌋
 * + 1 rows, with a = 1 + ⌊(T − 1)/2⌋ and b = 1 + ⌊(a − 1)/2⌋.
 * @param frames  T, LFR frames
 * @source transformers `FunAsrNanoProcessor`; funasr `fun_asr_nano/model.py`, `use_low_frame_rate`
 */
export function audioTokens(rule: AudioTokenRule, frames: number): number {
  if (rule === "all") return frames;
  const a = 1 + Math.floor((frames - 1) / 2);
  const b = 1 + Math.floor((a - 1) / 2);
  return Math.floor((b - 1) / 2) + 1;
}

/**
 * Seconds of audio that fit the model's positions beside the text of a prompt.
 * @param frameSeconds  from one LFR frame to the next
 * @param textTokens    tokens of the prompt without audio
 */
export function longestAudio(
  { audioTokenRule, llm }: Pick<ModelConfig, "audioTokenRule" | "llm">,
  frameSeconds: number,
  textTokens: number,
): number {
  const tokens = Math.max(0, llm.maxPositions - 1 - textTokens);
  return tokens * (audioTokenRule === "all" ? 1 : 8) * frameSeconds;
}

/**
 * Indices (stem = 0) of the layers with a final norm: the last transcription layer and the last
 * timestamp-prediction layer, if any.
 * @source transformers 5.23 `FunAsrNanoEncoder.__init__`, layer_norm_indices
 */
export function finalNormLayers(encoder: EncoderConfig): number[] {
  return [...new Set([encoder.layers, encoder.layers + encoder.tpLayers])];
}

const mostLayers = 1000; // a table of a million layers would take minutes
const mostTaps = 1024;
const mostHeadDim = 512; // the attention kernel's limit
const headWidths = `a multiple of 4 up to ${mostHeadDim}`;

function parseEncoder(root: ConfigReader): EncoderConfig {
  if (!root.has("audio_config") && root.has("encoder_config"))
    return parseOldEncoder(root.section("encoder_config"));
  const audio = root.section("audio_config");
  audio.oneOf("hidden_act", ["relu"], "relu");
  const tpLayers = audio.integer("num_timestamp_prediction_layers", { least: 0, most: mostLayers });
  const total = audio.integer("num_hidden_layers", { most: mostLayers });
  if (total <= tpLayers) {
    throw audio.refusal("num_hidden_layers", `more than num_timestamp_prediction_layers ${tpLayers}`, total);
  }
  return checkHeads(audio, "hidden_size", "num_attention_heads", {
    inputSize: inputSize(audio),
    hiddenSize: audio.width("hidden_size"),
    heads: audio.integer("num_attention_heads"),
    intermediateSize: audio.width("intermediate_size"),
    layers: total - tpLayers - 1,
    tpLayers,
    fsmnKernelSize: audio.integer("fsmn_kernel_size", { most: mostTaps }),
    layerNormEps: audio.epsilon("layer_norm_eps"),
  });
}

/** The hub's first revisions. encoder_layers counts the stem, but no timestamp layers. */
function parseOldEncoder(audio: ConfigReader): EncoderConfig {
  audio.oneOf("activation_function", ["relu"], "relu");
  return checkHeads(audio, "d_model", "encoder_attention_heads", {
    inputSize: inputSize(audio),
    hiddenSize: audio.width("d_model"),
    heads: audio.integer("encoder_attention_heads"),
    intermediateSize: audio.width("encoder_ffn_dim"),
    layers: audio.integer("encoder_layers", { most: mostLayers }) - 1,
    tpLayers: audio.integer("num_timestamp_prediction_blocks", { least: 0, most: mostLayers }),
    fsmnKernelSize: audio.integer("kernel_size", { most: mostTaps }),
    layerNormEps: 1e-5, // torch.nn.LayerNorm's default: these revisions have no field for it
  });
}

function inputSize(audio: ConfigReader): number {
  const size = audio.integer("num_mel_bins") * audio.integer("num_stacked_frames");
  if (size % 4 !== 0)
    throw audio.refusal("num_mel_bins", "a multiple of 4 once times num_stacked_frames", size);
  return size;
}

function parseAdaptor(root: ConfigReader, llmWidth: number): AdaptorConfig {
  if (!root.has("adaptor_config")) return parseFirstAdaptor(root, llmWidth);
  const adaptor = root.section("adaptor_config");
  const old = adaptor.has("d_model");
  const width = old ? "d_model" : "hidden_size";
  const heads = old ? "encoder_attention_heads" : "num_attention_heads";
  adaptor.oneOf(old ? "activation_function" : "hidden_act", ["relu"], "relu");
  adaptor.oneOf("projector_hidden_act", ["relu"], "relu");
  const hiddenSize = adaptor.width(width);
  if (hiddenSize !== llmWidth)
    throw adaptor.refusal(width, `text_config.hidden_size ${llmWidth}`, hiddenSize);
  return checkHeads(adaptor, width, heads, {
    projectorHiddenSize: (old ? root : adaptor).width("projector_hidden_size"),
    hiddenSize,
    heads: adaptor.integer(heads),
    intermediateSize: adaptor.width(old ? "encoder_ffn_dim" : "intermediate_size"),
    layers: adaptor.integer(old ? "encoder_layers" : "num_hidden_layers", { least: 0, most: mostLayers }),
    layerNormEps: old ? 1e-5 : adaptor.epsilon("layer_norm_eps"),
  });
}

/** The hub's first revision: the adaptor's numbers are at the top, its FFN is width / 4. */
function parseFirstAdaptor(root: ConfigReader, llmWidth: number): AdaptorConfig {
  if (!root.has("adaptor_num_hidden_layers")) root.section("adaptor_config"); // the error names the new spelling
  root.oneOf("activation_function", ["relu"], "relu");
  if (llmWidth % 16 !== 0)
    throw root.refusal("text_config.hidden_size", "a multiple of 16, for the adaptor's FFN", llmWidth);
  return checkHeads(root, "text_config.hidden_size", "adaptor_num_attention_heads", {
    projectorHiddenSize: root.width("adaptor_intermediate_size"),
    hiddenSize: llmWidth,
    heads: root.integer("adaptor_num_attention_heads"),
    intermediateSize: llmWidth / 4,
    layers: root.integer("adaptor_num_hidden_layers", { least: 0, most: mostLayers }),
    layerNormEps: 1e-5,
  });
}

/**
 * Returns the config `c` that was read from `section`.
 * @throws ConfigError  its heads and width do not match
 */
function checkHeads<C extends { hiddenSize: number; heads: number }>(
  section: ConfigReader,
  width: string,
  heads: string,
  c: C,
): C {
  const headDim = c.hiddenSize / c.heads;
  if (!Number.isInteger(headDim))
    throw section.refusal(heads, `a divisor of ${width} ${c.hiddenSize}`, c.heads);
  if (!isHeadWidth(headDim))
    throw section.refusal(heads, `heads of ${headWidths} in ${width} ${c.hiddenSize}`, c.heads);
  if (!section.isNull("head_dim") && section.integer("head_dim") !== headDim)
    throw section.refusal("head_dim", `${headDim}, which is ${width} / ${heads}`, section.value("head_dim"));
  return c;
}

function isHeadWidth(headDim: number): boolean {
  return headDim % 4 === 0 && headDim <= mostHeadDim;
}

function parseQwen3(text: ConfigReader, tiedHead: boolean): LlmConfig {
  text.oneOf("model_type", ["qwen3"], "qwen3");
  text.oneOf("hidden_act", ["silu"], "silu");
  text.oneOf("attention_bias", [false], false);
  text.oneOf("use_sliding_window", [false], false);
  const layers = text.integer("num_hidden_layers", { most: mostLayers });
  text.everyOf("layer_types", "full_attention", layers);
  const heads = text.integer("num_attention_heads");
  const kvHeads = text.isNull("num_key_value_heads") ? heads : text.integer("num_key_value_heads");
  if (heads % kvHeads !== 0)
    throw text.refusal("num_key_value_heads", `a divisor of num_attention_heads ${heads}`, kvHeads);
  const headDim = text.integer("head_dim");
  if (!isHeadWidth(headDim)) throw text.refusal("head_dim", headWidths, headDim);
  return {
    vocabSize: text.integer("vocab_size"),
    hiddenSize: text.width("hidden_size"),
    intermediateSize: text.width("intermediate_size"),
    layers,
    heads,
    kvHeads,
    headDim,
    rmsNormEps: text.epsilon("rms_norm_eps"),
    tiedHead,
    ...parseRope(text),
  };
}

function parseRule(root: ConfigReader): AudioTokenRule {
  const adaptor = root.has("adaptor_config") ? root.section("adaptor_config") : root;
  const holder = [root, adaptor].find((r) => r.has("use_low_frame_rate"));
  const byFlag = holder && (holder.boolean("use_low_frame_rate") ? "low_frame_rate" : "all");
  const rule = root.oneOf("audio_token_rule", ["all", "low_frame_rate"] as const, byFlag ?? "all");
  if (byFlag && rule !== byFlag) {
    throw root.refusal("audio_token_rule", `"${byFlag}" as use_low_frame_rate says`, rule);
  }
  return rule;
}

function parseHash(root: ConfigReader): Pick<ModelConfig, "encoderSha256"> {
  if (root.isNull("encoder_sha256")) return {};
  const value = root.value("encoder_sha256");
  if (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) return { encoderSha256: value };
  throw root.refusal("encoder_sha256", "64 hexadecimal digits", value);
}

function refuseQuantised(root: ConfigReader): void {
  if (root.isNull("quantization_config") && root.isNull("quantization")) return;
  throw new ConfigError({
    file: root.file,
    field: root.isNull("quantization_config") ? "quantization" : "quantization_config",
    expected: "none: weights in f32, f16 or bf16",
    got: "a quantised checkpoint",
    advice: "use the unquantised one",
  });
}
