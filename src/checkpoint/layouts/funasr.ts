import { type JsonObject, show } from "../../json.js";
import type { CtcSettings } from "../../config/ctc-config.js";
import { parseLlmConfig } from "../../config/model-config.js";
import type { AdaptorConfig, EncoderConfig, ModelConfig } from "../../config/model-config.js";
import { readJson, tokenizerAssets } from "./assets.js";
import { findAudioToken } from "./audio-token.js";
import { readMerging } from "../../config/merging.js";
import type { ConfigReader } from "../../config/reader.js";
import { type CheckpointError, checkpointError } from "../../formats/errors.js";
import { FUNASR_KEY_MAP } from "./key-maps-funasr.js";
import type { OpenedLayout } from "./layout.js";
import { splitLora } from "../lora/funasr.js";
import { containerOverBase, refusePartial } from "./funasr-weights.js";
import { type ModelFiles, closeOnError, isPlainName, missingFile } from "../source.js";
import { readYaml } from "./yaml.js";

/** The directory of the LLM's config and tokenizer in the published checkpoints. */
const LLM_DIRECTORY = "Qwen3-0.6B";
/** FunASR's waveforms are 16-bit integers. @source funasr `WavFrontend.forward` */
const WAVEFORM_SCALE = 32768;

/**
 * FunASR's layout: model.pt and config.yaml, and the LLM's config and tokenizer in a directory that
 * config.yaml names.
 * @throws ConfigError      config.yaml or the LLM's config.json cannot be run
 * @throws CheckpointError  a file is missing or damaged
 */
export async function openFunasr(files: ModelFiles): Promise<OpenedLayout> {
  if (!(await files.has("config.yaml"))) throw needsBase(files, "config.yaml");
  const yaml = await readYaml(files, "config.yaml");
  const configFile = yaml.file;
  yaml.oneOf("model", ["FunASRNano"], "FunASRNano");
  const llmFiles = await llmDirectory(files, yaml);
  const { config, audioToken } = await readConfig(yaml, llmFiles);
  const frontend = { file: configFile, json: readFrontend(yaml.optional("frontend_conf")) };
  const dataset = yaml.optional("dataset_conf");
  const prompt = {
    ...(audioToken === undefined ? {} : { audioToken }),
    emptyThought: !dataset.flag("do_think", true),
    systemTurn: dataset.flag("sys_prompt", true),
  };
  const { container, taken } = await containerOverBase(files);
  const split = await closeOnError(container, () => splitLora(container, yaml));
  await closeOnError(container, () => refusePartial(split.container, config, files));
  return {
    ...split,
    config,
    configFile,
    keyMaps: [FUNASR_KEY_MAP],
    assets: {
      ...tokenizerAssets(llmFiles),
      frontend: () => Promise.resolve(frontend),
      prompt: () => Promise.resolve(prompt),
    },
    notes: [...notes(yaml), ...taken],
    ctc: readCtc(yaml),
  };
}

/** The directory of the LLM's config: the last part of `init_param_path` in config.yaml. */
async function llmDirectory(files: ModelFiles, yaml: ConfigReader): Promise<ModelFiles> {
  const path = yaml.optional("llm_conf").value("init_param_path") ?? LLM_DIRECTORY;
  const name = typeof path === "string" ? (path.split(/[/\\]/).filter(Boolean).pop() ?? "") : "";
  if (!isPlainName(name)) throw yaml.refusal("llm_conf.init_param_path", "a directory's path", path);
  const directory = files.directory(name);
  if (await directory.has("config.json")) return directory;
  if (path === name) throw missingFile(files.name, `${name}/config.json`);
  throw needsBase(files, `${name}/config.json`, `config.yaml names ${show(path)}; `);
}

/** The error for a file that FunASR's trainer does not copy to its output. */
function needsBase(files: ModelFiles, file: string, why = ""): CheckpointError {
  const advice = `${why}add --base DIR, the checkpoint that was trained, or copy it there`;
  return checkpointError(files.name, file, "a file of that name", "none", advice);
}

/**
 * With the defaults of funasr.
 * @source funasr `SenseVoiceEncoderSmall.__init__`, `llm_asr.adaptor.Transformer.__init__`
 */
async function readConfig(
  yaml: ConfigReader,
  llmFiles: ModelFiles,
): Promise<{ config: ModelConfig; audioToken: string | undefined }> {
  const { json, file } = await readJson(llmFiles, "config.json");
  const llm = parseLlmConfig(json, file);
  const adaptor = readAdaptor(yaml, llm.hiddenSize);
  const lowFrameRate = yaml.optional("audio_adaptor_conf").flag("use_low_frame_rate", false);
  const { token: audioToken, id: audioTokenId } = await findAudioToken(llmFiles, llm.vocabSize);
  const encoder = readEncoder(yaml);
  const audioTokenRule = lowFrameRate ? "low_frame_rate" : "all";
  const merging = readMerging(yaml);
  return {
    audioToken,
    config: { encoder, adaptor, llm, audioTokenId, audioTokenRule, ...merging, raw: json },
  };
}

function readEncoder(yaml: ConfigReader): EncoderConfig {
  yaml.oneOf("audio_encoder", ["SenseVoiceEncoderSmall"], "SenseVoiceEncoderSmall");
  const conf = yaml.section("audio_encoder_conf");
  conf.oneOf("sanm_shfit", [0], 0);
  const frontend = yaml.optional("frontend_conf");
  const hiddenSize = conf.has("output_size") ? conf.width("output_size") : 256;
  const heads = conf.integerOr("attention_heads", 4);
  if (hiddenSize % heads !== 0)
    throw conf.refusal("attention_heads", `a divisor of output_size ${hiddenSize}`, heads);
  const inputSize = frontend.integerOr("n_mels", 80) * frontend.integerOr("lfr_m", 1);
  if (inputSize % 4 !== 0) throw frontend.refusal("n_mels", "a multiple of 4 once times lfr_m", inputSize);
  return {
    inputSize,
    hiddenSize,
    heads,
    intermediateSize: conf.has("linear_units") ? conf.width("linear_units") : 2048,
    layers: conf.integerOr("num_blocks", 6) - 1, // num_blocks counts the stem
    tpLayers: conf.has("tp_blocks") ? conf.integer("tp_blocks", { least: 0 }) : 0,
    fsmnKernelSize: conf.integerOr("kernel_size", 11),
    layerNormEps: 1e-5, // torch's default in sense_voice's LayerNorm
  };
}

function readAdaptor(yaml: ConfigReader, llmWidth: number): AdaptorConfig {
  yaml.oneOf("audio_adaptor", ["Transformer"], "Transformer");
  const conf = yaml.section("audio_adaptor_conf");
  if (conf.integerOr("downsample_rate", 2) !== 1)
    throw conf.refusal("downsample_rate", "1", conf.value("downsample_rate"), "nothing else is implemented");
  if (llmWidth % 16 !== 0)
    throw conf.refusal("llm_dim", "a multiple of 16 in the LLM's config, for the adaptor's FFN", llmWidth);
  const heads = conf.integerOr("attention_heads", 8);
  if (llmWidth % heads !== 0)
    throw conf.refusal("attention_heads", `a divisor of the LLM's hidden_size ${llmWidth}`, heads);
  return {
    projectorHiddenSize: conf.has("ffn_dim") ? conf.width("ffn_dim") : 2048,
    hiddenSize: llmWidth,
    heads,
    intermediateSize: llmWidth / 4,
    layers: conf.has("n_layer") ? conf.integer("n_layer", { least: 0 }) : 2,
    layerNormEps: 1e-12, // funasr's transformer.layer_norm
  };
}

/** @source funasr `fun_asr_nano.model.FunASRNano.__init__`; the published head has 5 blocks */
function readCtc(yaml: ConfigReader): CtcSettings {
  const tokenizer = [yaml, yaml.optional("dataset_conf")].find((conf) => !conf.isNull("ctc_tokenizer_conf"));
  const path = tokenizer?.optional("ctc_tokenizer_conf").value("vocab_path");
  const tokenizerFile = typeof path === "string" ? path.split(/[/\\]/).filter(Boolean).pop() : undefined;
  const decoder = yaml.optional("ctc_decoder_conf");
  const blank = yaml.optional("ctc_conf");
  return {
    heads: decoder.integerOr("attention_heads", 8),
    ...(!decoder.isNull("n_layer") && { layers: decoder.integer("n_layer", { least: 0 }) }),
    ...(!blank.isNull("blank_id") && { blankId: blank.integer("blank_id", { least: 0 }) }),
    ...(tokenizerFile !== undefined && isPlainName(tokenizerFile) && { tokenizerFile }),
  };
}

/**
 * WavFrontend's arguments as fields of transformers' feature extractor.
 * @source funasr `wav_frontend.py`
 */
function readFrontend(conf: ConfigReader): JsonObject {
  if (!conf.isNull("cmvn_file"))
    throw conf.refusal("cmvn_file", "none", conf.value("cmvn_file"), "normalisation is not implemented");
  conf.oneOf("snip_edges", [true], true);
  return {
    sampling_rate: conf.value("fs") ?? 16_000,
    feature_size: conf.value("n_mels") ?? 80,
    frame_length: conf.value("frame_length") ?? 25,
    frame_shift: conf.value("frame_shift") ?? 10,
    num_frames_lfr: conf.value("lfr_m") ?? 1,
    stride_lfr: conf.value("lfr_n") ?? 1,
    window: conf.value("window") ?? "hamming",
    waveform_scale: conf.flag("upsacle_samples", true) ? WAVEFORM_SCALE : 1,
    dither: 0,
  };
}

function notes(yaml: ConfigReader): string[] {
  const conf = yaml.optional("frontend_conf");
  if (conf.value("dither") === 0) return [];
  return [
    `FunASR adds noise to the waveform (dither ${show(conf.value("dither") ?? 1)}); here there is none, so that a clip always gives the same text`,
  ];
}
