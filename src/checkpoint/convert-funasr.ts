import type { ModelConfig } from "../config/model-config.js";
import { checkpointError } from "../formats/errors.js";
import { isObject } from "../json.js";
import type { Checkpoint } from "./checkpoint.js";
import { storedTensor } from "./convert.js";
import { funasrConfig, funasrConfiguration } from "./layouts/funasr-config.js";
import { funasrTensors } from "./layouts/funasr-names.js";
import { hfTextConfig } from "./layouts/hf-config.js";
import {
  type OutputFile,
  type WriteDtype,
  type WriteEvents,
  configDetails,
  generationConfig,
  json,
  processorConfig,
  textFile,
  tokenizerOutput,
} from "./output-files.js";
import { type WriteTensor, tensorBytes } from "./safetensors/write.js";
import { type TorchTensor, writeTorchFile } from "./torch/write.js";

/** How a checkpoint is written in FunASR's layout. */
export interface ConvertFunasrOptions extends WriteEvents {
  /** Type of every tensor. Default: as stored; F32 for GGUF blocks. */
  readonly dtype?: WriteDtype;
}

/** FunASR's names of the LLM's directory, by its width. */
const LLM_NAMES = new Map([
  [1024, "Qwen3-0.6B"],
  [2048, "Qwen3-1.7B"],
  [2560, "Qwen3-4B"],
  [4096, "Qwen3-8B"],
]);

/**
 * A checkpoint's files in FunASR's layout, to be written in this order: config.yaml,
 * configuration.json, the LLM's config and tokenizer in a directory, model.pt. `funasr.AutoModel`
 * loads it and `funasr-train-ds` trains it; openCheckpoint reads the same tensors. The weights are
 * read while `pieces` runs.
 * @returns  the files, and what FunASR does otherwise than the checkpoint, a sentence each
 * @throws CheckpointError  FunASR's classes cannot hold the model; or the signal's reason
 */
export async function funasrFiles(
  checkpoint: Checkpoint,
  options: ConvertFunasrOptions = {},
): Promise<{ readonly files: OutputFile[]; readonly notes: readonly string[] }> {
  options.signal?.throwIfAborted();
  refuseOther(checkpoint);
  const { config, assets } = checkpoint;
  const { processor, scale } = await frontendOf(checkpoint);
  const tensors = torchTensors(checkpoint, options.dtype);
  const llmDirectory = LLM_NAMES.get(config.llm.hiddenSize) ?? "Qwen3-0.6B";
  const prompt = await assets.prompt();
  const yaml = funasrConfig(config, {
    llmDirectory,
    llmDtype: llmDtype(tensors),
    frontend: processor,
    prompt,
  });
  const generation = await generationConfig(assets);
  const inLlm = (file: OutputFile): OutputFile => ({ ...file, name: `${llmDirectory}/${file.name}` });
  const files = [
    textFile("config.yaml", yaml),
    json("configuration.json", funasrConfiguration(llmDirectory)),
    inLlm(json("config.json", llmConfig(config, generation))),
    inLlm(json("generation_config.json", generation)),
    ...(await tokenizerOutput(assets)).map(inLlm),
    weightFile(tensors, options),
  ];
  return { files, notes: notes(config, scale) };
}

/** The front-end's fields. @throws CheckpointError  a scale of the waveform that FunASR does not have */
async function frontendOf(
  checkpoint: Checkpoint,
): Promise<{ processor: Record<string, unknown>; scale: number }> {
  const { feature_extractor: fields } = await processorConfig(checkpoint);
  const processor = isObject(fields) ? fields : {};
  configDetails(checkpoint, { feature_extractor: processor }, [
    { name: "", dtype: "F32", shape: [], data: new Uint8Array() },
  ]);
  const scale = Number(processor["waveform_scale"] ?? 1);
  if (scale === 1 || scale === 32_768) return { processor, scale };
  throw checkpointError(checkpoint.name, "waveform_scale", "1 or 32768, which FunASR has", scale);
}

/** @throws CheckpointError  sizes that FunASR's classes derive otherwise */
function refuseOther({ name, config: { encoder, adaptor, llm } }: Checkpoint): void {
  const refuse = (field: string, expected: string, got: number): never => {
    throw checkpointError(name, field, expected, got, "FunASR's classes hold no other");
  };
  if (encoder.tpLayers === 0) refuse("tp_blocks", "timestamp-prediction layers, 1 or more", 0);
  if (adaptor.intermediateSize !== llm.hiddenSize / 4)
    refuse("adaptor's FFN", `a quarter of the LLM's width, ${llm.hiddenSize / 4}`, adaptor.intermediateSize);
}

/** The LLM's config.json. FunASR's `generate` stops at its `eos_token_id`. */
function llmConfig({ llm }: ModelConfig, generation: Record<string, unknown>): Record<string, unknown> {
  const { eos_token_id: eos, pad_token_id: pad } = generation;
  return {
    architectures: ["Qwen3ForCausalLM"],
    ...hfTextConfig(llm),
    ...(Array.isArray(eos) && eos.length > 0 && { eos_token_id: eos as unknown }),
    ...(pad !== undefined && { pad_token_id: pad }),
  };
}

/** The state dict, in the order of the checkpoint. A tied head is stored once, under both names. */
function torchTensors(checkpoint: Checkpoint, dtype?: WriteDtype): TorchTensor[] {
  const { tensors, config } = checkpoint;
  const result = funasrTensors(tensors.keys(), config.encoder).map(({ name, parts }): TorchTensor => {
    const [first, ...rest] = parts.map((part) => tensors.get(part)!);
    const fused = rest.some((entry) => entry.dtype !== first.dtype) ? (dtype ?? "F32") : dtype;
    const [head, ...others] = [first, ...rest].map((entry) => storedTensor(checkpoint, entry, fused));
    if (others.length === 0) return { ...head, name };
    const rows = [head, ...others].reduce((sum, { shape }) => sum + shape[0], 0);
    return { ...head, name, shape: [rows, ...head.shape.slice(1)], data: () => joined([head, ...others]) };
  });
  const embedding = "llm.model.embed_tokens.weight";
  return config.llm.tiedHead ? [...result, { name: "llm.lm_head.weight", sameAs: embedding }] : result;
}

async function* joined(tensors: readonly WriteTensor[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const { data } of tensors) {
    const bytes = typeof data === "function" ? await data() : data;
    if (bytes instanceof Uint8Array) yield bytes;
    else yield* bytes;
  }
}

function llmDtype(tensors: readonly TorchTensor[]): "bf16" | "fp16" | "fp32" {
  const types = tensors.flatMap((t) => ("data" in t && t.name.startsWith("llm.") ? [t.dtype] : []));
  const [type, ...others] = new Set(types);
  if (others.length > 0) return "fp32";
  return type === "BF16" ? "bf16" : type === "F16" ? "fp16" : "fp32";
}

function weightFile(tensors: readonly TorchTensor[], { onProgress, signal }: WriteEvents): OutputFile {
  return {
    name: "model.pt",
    weightBytes: tensors.reduce((sum, t) => sum + ("data" in t ? tensorBytes(t) : 0), 0),
    async *pieces() {
      let done = 0;
      for await (const piece of writeTorchFile(tensors)) {
        signal?.throwIfAborted();
        yield piece;
        onProgress?.((done += piece.byteLength));
      }
    },
  };
}

function notes({ adaptor, audioTokenRule }: ModelConfig, scale: number): string[] {
  const found: string[] = [];
  if (audioTokenRule === "all")
    found.push(
      "FunASR's trainer gives the LLM the first eighth of the adaptor's rows, and this model takes all: train the adaptor with ++audio_adaptor_conf.use_low_frame_rate=true",
    );
  if (adaptor.layerNormEps !== 1e-12)
    found.push(`FunASR computes the adaptor's LayerNorm with eps 1e-12, not ${adaptor.layerNormEps}`);
  if (scale === 1) found.push("the waveform stays at unit scale: upsacle_samples is false, dither 0");
  return found;
}
