import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expectedTensors } from "../../src/config/expected-tensors.js";
import { type WriteTensor, safetensorsBytes } from "../../src/checkpoint/safetensors/write.js";
import { type ModelFiles, memoryFiles } from "../../src/checkpoint/source.js";
import { generateParameter } from "../../src/checkpoint/weights.js";
import type { DecodedAudio } from "../../src/frontend/audio.js";
import { type ModelConfig, parseModelConfig } from "../../src/config/model-config.js";
import { values } from "../gpu.js";

const demo = new URL("../../models/demo/", import.meta.url);

export interface TinyOptions {
  readonly seed?: number;
  readonly tied?: boolean;
  readonly rule?: "all" | "low_frame_rate";
  /** Changes the parameters before they are written. */
  readonly edit?: (tensors: WriteTensor[]) => WriteTensor[];
  /** Changes config.json after the parameters were made. */
  readonly editConfig?: (config: Record<string, unknown>) => unknown;
}

/**
 * config.json of a checkpoint of the real architecture, small in every size but the front-end's 560
 * and the demo's vocabulary.
 */
export function tinyConfigJson({ tied = true, rule = "all" }: TinyOptions = {}): Record<string, unknown> {
  return {
    model_type: "fun_asr_nano",
    audio_config: {
      num_mel_bins: 80,
      num_stacked_frames: 7,
      hidden_size: 32,
      num_attention_heads: 4,
      intermediate_size: 48,
      num_hidden_layers: 5,
      num_timestamp_prediction_layers: 2,
      fsmn_kernel_size: 11,
      layer_norm_eps: 1e-5,
    },
    adaptor_config: {
      projector_hidden_size: 40,
      hidden_size: 64,
      num_attention_heads: 8,
      intermediate_size: 16,
      num_hidden_layers: 2,
      layer_norm_eps: 1e-5,
    },
    text_config: {
      model_type: "qwen3",
      vocab_size: 1064,
      hidden_size: 64,
      intermediate_size: 96,
      num_hidden_layers: 3,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 24,
      rms_norm_eps: 1e-6,
      rope_theta: 1e6,
      tie_word_embeddings: tied,
      max_position_embeddings: 2048,
    },
    audio_token_id: 1035, // <|object_ref_start|> of the demo's tokenizer
    use_low_frame_rate: rule === "low_frame_rate",
    tie_word_embeddings: tied,
  };
}

export function tinyConfig(options: TinyOptions = {}): ModelConfig {
  return parseModelConfig(tinyConfigJson(options));
}

/** Seeded bf16 parameters of the tiny checkpoint. */
export function tinyTensors(options: TinyOptions = {}): WriteTensor[] {
  const { seed = 1, edit } = options;
  const tensors = [...expectedTensors(tinyConfig(options))].map(([name, shape]): WriteTensor => ({
    name,
    shape,
    dtype: "BF16",
    data: generateParameter(name, shape, seed, "bf16"),
  }));
  return edit ? edit(tensors) : tensors;
}

/**
 * Every file of a tiny checkpoint with random weights and the demo's tokenizer. Its words mean
 * nothing.
 */
export async function tinyFiles(options: TinyOptions = {}): Promise<Map<string, Uint8Array>> {
  const { editConfig } = options;
  const json = tinyConfigJson(options);
  const config = JSON.stringify(editConfig ? editConfig(json) : json);
  const files = new Map<string, Uint8Array>([
    ["config.json", new TextEncoder().encode(config)],
    ["model.safetensors", await safetensorsBytes(tinyTensors(options))],
  ]);
  for (const name of ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]) {
    files.set(name, new Uint8Array(readFileSync(new URL(name, demo))));
  }
  return files;
}

/** The tiny checkpoint in memory. */
export async function tinyModel(options: TinyOptions = {}): Promise<ModelFiles> {
  return memoryFiles("tiny", await tinyFiles(options));
}

/** A temporary directory with these files; `remove` deletes it. */
export function writeDirectory(files: ReadonlyMap<string, Uint8Array | string>): {
  path: string;
  remove: () => void;
} {
  const path = mkdtempSync(join(tmpdir(), "funasr-webgpu-"));
  for (const [name, data] of files) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), data);
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Seeded noise that swells and fades, one channel at 16 kHz. */
export function noiseClip(seconds: number, seed: number): DecodedAudio {
  const samples = values(Math.round(16_000 * seconds), seed);
  for (let i = 0; i < samples.length; i++) samples[i] *= 0.3 * Math.sin((Math.PI * i) / 1600) ** 2;
  return { channels: [samples], sampleRate: 16_000 };
}
