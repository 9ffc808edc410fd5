import { type LlmConfig, parseLlmConfig } from "../../config/model-config.js";
import { applyLoras } from "../lora/apply.js";
import { directoryAssets, readJson } from "../layouts/assets.js";
import { type Checkpoint, type TensorEntry, assemble, openCheckpoint } from "../checkpoint.js";
import { GGUF_ENCODER, openGgufLlm } from "../layouts/gguf.js";
import { isWholeGguf, onlyGguf, openWholeGguf } from "../layouts/gguf-whole.js";
import { ConfigError } from "../../formats/errors.js";
import { HEAD } from "../../config/expected-tensors.js";
import { LLM_KEY_MAP } from "../layouts/key-maps.js";
import { show } from "../../json.js";
import { elementCount } from "../../shape.js";
import { openSafetensorsContainer } from "../safetensors/container.js";
import type { ModelFiles } from "../source.js";

/** A language model, alone or from a Fun-ASR checkpoint, with the tensor names of the latter. */
export type LlmCheckpoint = Checkpoint<{ readonly llm: LlmConfig }>;

/**
 * Opens the language model of a directory: a Qwen3 of transformers or in one GGUF file, or the LLM
 * of a Fun-ASR checkpoint.
 * @param gguf   a GGUF file of the directory; default: the only one, if there are no other weights
 * @param loras  as openCheckpoint
 * @throws ConfigError, CheckpointError  as openCheckpoint
 */
export async function openLlm(
  files: ModelFiles,
  gguf?: string,
  loras: readonly ModelFiles[] = [],
): Promise<LlmCheckpoint> {
  const file = gguf ?? onlyLlm(await files.list());
  if (file !== undefined && (await isWholeGguf(files, file))) {
    const checkpoint = await assemble((await openWholeGguf(files, file))!);
    return languageModel(await applyLoras(checkpoint, loras));
  }
  if (file !== undefined) return applyLoras(await openGguf(files, file), loras);
  if (await isQwen3(files)) return applyLoras(await openQwen3(files), loras);
  await refuseOtherLlm(files);
  return languageModel(await openCheckpoint(files, loras));
}

/** True for the directory of a Qwen3. */
export async function isLlmAlone(files: ModelFiles): Promise<boolean> {
  const gguf = onlyLlm(await files.list());
  return gguf === undefined ? isQwen3(files) : !(await isWholeGguf(files, gguf));
}

function onlyLlm(names: readonly string[]): string | undefined {
  const gguf = onlyGguf(names);
  return gguf !== undefined && !GGUF_ENCODER.test(gguf) ? gguf : undefined;
}

async function openGguf(files: ModelFiles, file: string): Promise<LlmCheckpoint> {
  const { container, config: llm, keyMaps, assets, template } = await openGgufLlm(files, file);
  const prompt = (): Promise<{ template?: string }> =>
    Promise.resolve(template === undefined ? {} : { template });
  const opened = { container, keyMaps, assets: { ...assets, prompt }, notes: [] };
  return assemble({ ...opened, config: { llm }, configFile: `${files.name}/${file}` });
}

async function isQwen3(files: ModelFiles): Promise<boolean> {
  if (!(await files.has("config.json"))) return false;
  return (await readJson(files, "config.json")).json.model_type === "qwen3";
}

/** @throws ConfigError  another language model, such as Llama or Qwen2 */
async function refuseOtherLlm(files: ModelFiles): Promise<void> {
  if (!(await files.has("config.json"))) return;
  const { file, json } = await readJson(files, "config.json");
  const names: unknown[] = Array.isArray(json.architectures) ? json.architectures : [];
  if (!names.some((name) => typeof name === "string" && name.endsWith("ForCausalLM"))) return;
  throw new ConfigError({ file, field: "model_type", expected: '"qwen3"', got: show(json.model_type) });
}

async function openQwen3(files: ModelFiles): Promise<LlmCheckpoint> {
  const { file: configFile, json } = await readJson(files, "config.json");
  const config = { llm: parseLlmConfig(json, configFile) };
  const container = await openSafetensorsContainer(files, () => "transformers");
  const assets = directoryAssets(files);
  return assemble({ container, config, configFile, keyMaps: [LLM_KEY_MAP], assets, notes: [] });
}

function languageModel(checkpoint: Checkpoint): LlmCheckpoint {
  const isLlm = ({ name }: TensorEntry): boolean => name === HEAD || name.startsWith("model.language_model.");
  const entries = [...checkpoint.tensors.values()].filter(isLlm);
  return {
    ...checkpoint,
    config: { llm: checkpoint.config.llm },
    tensors: new Map(entries.map((entry) => [entry.name, entry])),
    totalBytes: entries.reduce((sum, { byteLength }) => sum + byteLength, 0),
    parameterCount: entries.reduce((sum, { shape }) => sum + elementCount(shape), 0),
  };
}
