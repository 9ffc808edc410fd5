import { type JsonObject } from "../../json.js";
import { parseLlmConfig } from "../../config/model-config.js";
import type { LlmConfig, ModelConfig } from "../../config/model-config.js";
import { readFirst, readJson, tokenizerAssets } from "./assets.js";
import { findAudioToken } from "./audio-token.js";
import { readMerging } from "../../config/merging.js";
import { ConfigReader } from "../../config/reader.js";
import type { Container } from "../../formats/container.js";
import { HEAD } from "../../config/expected-tensors.js";
import { FUNASR_KEY_MAP, MLX_KEY_MAP } from "./key-maps-funasr.js";
import type { OpenedLayout } from "./layout.js";
import { CanonicalShapes } from "./shapes.js";
import type { ModelFiles } from "../source.js";

const LLM_DIRECTORY = "Qwen3-0.6B";
const MAPS = [MLX_KEY_MAP, FUNASR_KEY_MAP];

/** True for the tensor names of an MLX port, with new names or model.pt's. */
export function isMlx(names: Iterable<string>): boolean {
  for (const name of names) if (MAPS.some((map) => map.marks.test(name))) return true;
  return false;
}

/**
 * The safetensors of an MLX port, made from FunASR's model.pt. Ports have different config.json
 * files, so sizes come from the tensors' shapes. Other numbers come from config.json, or else from
 * the released model.
 * @throws ConfigError      config.json is not implemented, or contradicts the shapes
 * @throws CheckpointError  a tensor is missing, or a file is damaged
 */
export async function mlxLayout(files: ModelFiles, container: Container): Promise<OpenedLayout> {
  const given = await readFirst(files, "config.json");
  const root = ConfigReader.of(given.json, given.file);
  if (!root.isNull("quantization"))
    throw root.refusal("quantization", "none: weights in f32, f16 or bf16", root.value("quantization"));
  const inner = files.directory(LLM_DIRECTORY);
  const tokenizerFiles = (await files.has("tokenizer.json")) ? files : inner;
  const shapes = CanonicalShapes.of(container, MAPS);
  const notes: string[] = [];
  const llm = await readLlm(inner, root, shapes, notes);
  const { token: audioToken, id: audioTokenId } = await findAudioToken(tokenizerFiles, llm.vocabSize);
  const audio = readAudio(root, shapes, llm, notes);
  const config = { ...audio, llm, audioTokenId, ...readMerging(root), raw: given.json };
  const frontend = { file: given.file, json: readFrontend(root) };
  return {
    container,
    config,
    configFile: given.file,
    keyMaps: MAPS,
    assets: {
      ...tokenizerAssets(tokenizerFiles),
      frontend: () => Promise.resolve(frontend),
      prompt: () => Promise.resolve({ audioToken }),
    },
    notes: ["every size is taken from the tensors' shapes", ...notes],
  };
}

/** A number of config.json under any of these names, or else the released model's, with a note. */
function integerOrReleased(
  conf: ConfigReader,
  names: readonly string[],
  released: number,
  notes: string[],
): number {
  const name = names.find((n) => conf.has(n));
  if (name !== undefined) return conf.integer(name);
  notes.push(`${names[0]} ${released}: no file says it, it is the released model's`);
  return released;
}

type AudioConfig = Pick<ModelConfig, "encoder" | "adaptor" | "audioTokenRule">;

function readAudio(
  root: ConfigReader,
  shapes: CanonicalShapes,
  llm: LlmConfig,
  notes: string[],
): AudioConfig {
  const sizes = shapes.audio();
  const encoder = root.optional("encoder");
  const adaptor = root.optional("adaptor");
  const encoderNotes: string[] = [];
  const heads = integerOrReleased(encoder, ["num_heads", "attention_heads"], 4, encoderNotes);
  if (sizes.encoder.hiddenSize % heads !== 0)
    throw encoder.refusal("num_heads", `a divisor of the encoder's width ${sizes.encoder.hiddenSize}`, heads);
  const adaptorNotes: string[] = [];
  const adaptorHeads = integerOrReleased(adaptor, ["attention_heads", "num_heads"], 8, adaptorNotes);
  if (llm.hiddenSize % adaptorHeads !== 0)
    throw adaptor.refusal("attention_heads", `a divisor of the LLM's width ${llm.hiddenSize}`, adaptorHeads);
  notes.push(...encoderNotes.map((n) => `encoder ${n}`), ...adaptorNotes.map((n) => `adaptor ${n}`));
  const holder = [root, adaptor].find((r) => r.has("use_low_frame_rate"));
  if (!holder) notes.push("use_low_frame_rate true: no file says it, it is the released model's");
  return {
    encoder: { ...sizes.encoder, heads, layerNormEps: 1e-5 },
    adaptor: { ...sizes.adaptor, heads: adaptorHeads, layerNormEps: 1e-12 },
    audioTokenRule: (holder?.boolean("use_low_frame_rate") ?? true) ? "low_frame_rate" : "all",
  };
}

/** Reads the LLM's config.json, or else shapes and "llm" of the port's config.json. */
async function readLlm(
  inner: ModelFiles,
  root: ConfigReader,
  shapes: CanonicalShapes,
  notes: string[],
): Promise<LlmConfig> {
  if (await inner.has("config.json")) {
    const { json, file } = await readJson(inner, "config.json");
    return parseLlmConfig(json, file);
  }
  const conf = root.optional(root.isNull("llm") ? "text_config" : "llm");
  const sizes = shapes.llm();
  if (!conf.has("rope_theta"))
    notes.push(
      "LLM rope_theta 1000000, rms_norm_eps 1e-6 and context 40960: no file says them, they are Qwen3's",
    );
  return {
    ...sizes,
    rmsNormEps: conf.has("rms_norm_eps") ? conf.epsilon("rms_norm_eps") : 1e-6,
    ropeTheta: conf.has("rope_theta") ? conf.positive("rope_theta") : 1e6,
    maxPositions: conf.integerOr("max_position_embeddings", 40_960),
    tiedHead: !shapes.has(HEAD), // decideHead then compares a stored head's bytes
  };
}

/** The released configuration of WavFrontend, unless config.json differs. */
function readFrontend(root: ConfigReader): JsonObject {
  const numbers = {
    sampling_rate: root.value("sample_rate") ?? 16_000,
    feature_size: root.value("n_mels") ?? 80,
    num_frames_lfr: root.value("lfr_m") ?? 7,
    stride_lfr: root.value("lfr_n") ?? 6,
  };
  return { ...numbers, window: "hamming", waveform_scale: 32768, dither: 0 };
}
