import { stringify } from "yaml";
import type { ModelConfig } from "../../config/model-config.js";
import type { JsonObject } from "../../json.js";
import type { PromptAssets } from "./layout.js";

/** What config.yaml says beside the sizes. */
export interface FunasrConfigDetails {
  /** Directory of the LLM's config and tokenizer. */
  readonly llmDirectory: string;
  /** Type in which FunASR keeps the LLM. */
  readonly llmDtype: "bf16" | "fp16" | "fp32";
  /** Fields of transformers' feature extractor. */
  readonly frontend: JsonObject;
  readonly prompt: PromptAssets;
}

/**
 * config.yaml of FunASR's layout; openFunasr reads it back to the same ModelConfig. The sections of
 * training are defaults of Fun-ASR's `finetune.sh`, which its `++` options change. Dither is 0: with
 * the waveform at unit scale, FunASR's default would be noise as loud as speech.
 * @source funasr 1.4 `FunASRNano.__init__`, `SenseVoiceEncoderSmall`, `llm_asr.adaptor.Transformer`,
 *   `WavFrontend`, `fun_asr_datasets`
 */
export function funasrConfig(config: ModelConfig, details: FunasrConfigDetails): string {
  const sections = { ...modelSections(config, details), ...trainingSections(details) };
  return stringify(sections, { version: "1.1", lineWidth: 0 });
}

function modelSections(
  { encoder: e, adaptor: a, llm, audioTokenRule, mergeSeconds }: ModelConfig,
  { llmDirectory, llmDtype, frontend }: FunasrConfigDetails,
): JsonObject {
  return {
    model: "FunASRNano",
    model_conf: { lsm_weight: 0.1, length_normalized_loss: true },
    audio_encoder: "SenseVoiceEncoderSmall",
    audio_encoder_conf: {
      output_size: e.hiddenSize,
      attention_heads: e.heads,
      linear_units: e.intermediateSize,
      num_blocks: 1 + e.layers,
      tp_blocks: e.tpLayers,
      dropout_rate: 0,
      positional_dropout_rate: 0,
      attention_dropout_rate: 0,
      input_layer: "pe",
      pos_enc_class: "SinusoidalPositionEncoder",
      normalize_before: true,
      kernel_size: e.fsmnKernelSize,
      sanm_shfit: 0,
      selfattention_layer_type: "sanm",
      freeze: true,
    },
    llm: llmDirectory,
    llm_conf: {
      hub: "hf",
      freeze: true,
      llm_dtype: llmDtype,
      init_param_path: llmDirectory,
      use_lora: false,
      lora_conf: { r: 16, lora_alpha: 32, lora_dropout: 0.05, target_modules: ["q_proj", "v_proj"] },
    },
    audio_adaptor: "Transformer",
    audio_adaptor_conf: {
      downsample_rate: 1,
      use_low_frame_rate: audioTokenRule === "low_frame_rate",
      ffn_dim: a.projectorHiddenSize,
      llm_dim: llm.hiddenSize,
      encoder_dim: e.hiddenSize,
      n_layer: a.layers,
      attention_heads: a.heads,
      freeze: false,
    },
    ...frontendSections(frontend),
    ...(mergeSeconds !== undefined && { merge_length_s: mergeSeconds }),
  };
}

function frontendSections(frontend: JsonObject): JsonObject {
  return {
    frontend: "WavFrontend",
    frontend_conf: {
      fs: frontend["sampling_rate"] ?? 16_000,
      window: frontend["window"] ?? "hamming",
      n_mels: frontend["feature_size"],
      frame_length: frontend["frame_length"] ?? 25,
      frame_shift: frontend["frame_shift"] ?? 10,
      lfr_m: frontend["num_frames_lfr"],
      lfr_n: frontend["stride_lfr"],
      cmvn_file: null,
      dither: 0,
      upsacle_samples: frontend["waveform_scale"] === 32_768,
    },
  };
}

function trainingSections({ llmDirectory, prompt }: FunasrConfigDetails): JsonObject {
  return {
    train_conf: { accum_grad: 1, grad_clip: 5, max_epoch: 2, log_interval: 10, keep_nbest_models: 20 },
    optim: "adamw",
    optim_conf: { lr: 0.0002, weight_decay: 0 },
    scheduler: "warmuplr",
    scheduler_conf: { warmup_steps: 1500 },
    dataset: "FunASR",
    dataset_conf: {
      index_ds: "FunASR",
      batch_sampler: "BatchSampler",
      batch_type: "token",
      batch_size: 6000,
      sort_size: 1024,
      data_split_num: 1,
      num_workers: 4,
      do_think: prompt.emptyThought !== true,
      sys_prompt: prompt.systemTurn !== false,
    },
    tokenizer: "HuggingfaceTokenizer",
    tokenizer_conf: { init_param_path: llmDirectory },
  };
}

/** configuration.json: the paths that FunASR's loader resolves in the directory. */
export function funasrConfiguration(llmDirectory: string): JsonObject {
  return {
    framework: "pytorch",
    task: "auto-speech-recognition",
    model: { type: "funasr" },
    pipeline: { type: "funasr-pipeline" },
    file_path_metas: {
      init_param: "model.pt",
      config: "config.yaml",
      tokenizer_conf: { init_param_path: llmDirectory },
      llm_conf: { init_param_path: llmDirectory },
    },
  };
}
