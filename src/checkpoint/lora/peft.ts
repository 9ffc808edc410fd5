import { isObject, show } from "../../json.js";
import { ConfigReader } from "../../config/reader.js";
import { type CheckpointError, checkpointError } from "../../formats/errors.js";
import { parseJsonObject } from "../json.js";
import { openSafetensors } from "../safetensors/safetensors.js";
import { type ModelFiles, closeOnError } from "../source.js";
import { openTorchFile } from "../torch/torch-file.js";
import { layerPattern } from "./pattern.js";
import { type Lora, type ScaleOf, checkRank, fileLora } from "./tensors.js";

export const PEFT_CONFIG = "adapter_config.json";
const SAFETENSORS = "adapter_model.safetensors";
const TORCH = "adapter_model.bin";
const MAX_CONFIG = 4_000_000;

/** Fields of LoRA variants that are not implemented. They must be absent, null, false or empty. */
const UNSUPPORTED = [
  "lora_bias",
  "layer_replication",
  "trainable_token_indices",
  "target_parameters",
  "alora_invocation_tokens",
  "use_qalora",
  "use_bdlora",
  "arrow_config",
  "kasa_config",
  "monteclora_config",
  "velora_config",
];
/** Initialisations that keep the base's weights. */
const PLAIN_INITIALISATIONS: readonly unknown[] = [true, false, "gaussian", "orthogonal", "eva"];

/**
 * Opens a directory of peft's save_pretrained: adapter_config.json, and adapter_model.safetensors
 * or adapter_model.bin.
 * @throws ConfigError      another kind of adapter, or a variant of LoRA that is not implemented
 * @throws CheckpointError  a file is missing or damaged, or its tensors are not a LoRA
 * @source peft 0.21 `LoraConfig`, `get_peft_model_state_dict`
 */
export async function openPeft(files: ModelFiles): Promise<Lora> {
  const configFile = `${files.name}/${PEFT_CONFIG}`;
  const text = await files.readText(PEFT_CONFIG, MAX_CONFIG);
  const scaleOf = readConfig(ConfigReader.of(parseJsonObject(text, configFile, "JSON"), configFile));
  const name = (await files.has(SAFETENSORS)) || !(await files.has(TORCH)) ? SAFETENSORS : TORCH;
  const source = await files.open(name);
  return closeOnError(source, async () => {
    const { tensors, metadata } =
      name === SAFETENSORS
        ? await openSafetensors(source)
        : { tensors: await openTorchFile(source), metadata: new Map<string, string>() };
    return {
      name: files.name,
      ...fileLora(source, name, tensors.values(), scaleOf),
      ...trainingMetadata(metadata),
      close: () => source.close(),
    };
  });
}

/** The metadata that this package's training records in the file. */
function trainingMetadata(metadata: ReadonlyMap<string, string>): Pick<Lora, "dtype" | "baseSha256"> {
  const dtype = metadata.get("merged_dtype");
  const sha256 = metadata.get("base_sha256");
  return {
    ...(dtype === "F32" || dtype === "BF16" ? { dtype } : {}),
    ...(sha256 === undefined ? {} : { baseSha256: sha256 }),
  };
}

/** Checks the config. @returns the scale of an addition by its layer and rank */
function readConfig(config: ConfigReader): ScaleOf {
  config.oneOf("peft_type", ["LORA"], "LORA");
  config.oneOf("bias", ["none", "all", "lora_only"], "none");
  for (const field of UNSUPPORTED) {
    const value = config.value(field) ?? false;
    const isUnused = value === false || (Array.isArray(value) && value.length === 0);
    if (!isUnused) throw config.refusal(field, "none", value, "this variant of LoRA is not implemented");
  }
  const initialisation = config.value("init_lora_weights") ?? true;
  if (!PLAIN_INITIALISATIONS.includes(initialisation)) {
    const advice = "it changes the base's weights too: save it with peft as a plain LoRA, or merge it there";
    throw config.refusal("init_lora_weights", "one that leaves the base as it is", initialisation, advice);
  }
  const rank = config.integerOr("r", 8);
  const alpha = config.isNull("lora_alpha") ? 8 : config.positive("lora_alpha");
  const stabilised = config.flag("use_rslora", false);
  const ranks = patterns(config, "rank_pattern");
  const alphas = patterns(config, "alpha_pattern");
  return (module, got) => {
    checkRank(config, find(ranks, module) ?? rank, got, show(module));
    return (find(alphas, module) ?? alpha) / (stabilised ? Math.sqrt(got) : got);
  };
}

type Patterns = readonly (readonly [RegExp, number])[];

function find(patterns: Patterns, module: string): number | undefined {
  return patterns.find(([pattern]) => pattern.test(module))?.[1];
}

const MAX_PATTERNS = 2000;

function patterns(config: ConfigReader, field: string): Patterns {
  if (config.isNull(field)) return [];
  const value = config.value(field);
  if (!isObject(value)) throw config.refusal(field, "an object", value);
  const entries = Object.entries(value);
  if (entries.length > MAX_PATTERNS)
    throw config.refusal(field, `at most ${MAX_PATTERNS} entries`, entries.length);
  return entries.map(([key, number]) => {
    const pattern = layerPattern(key);
    if (!pattern)
      throw config.refusal(field, String.raw`names of layers, with \d+, .* or (a|b) at most`, key);
    if (typeof number !== "number" || !Number.isFinite(number) || number <= 0)
      throw config.refusal(`${field}.${key}`, "a positive number", number);
    return [pattern, number] as const;
  });
}

/** The error for a directory without a LoRA. */
export function noLora(files: ModelFiles, names: readonly string[]): CheckpointError {
  return checkpointError(
    files.name,
    "directory",
    `a LoRA: ${PEFT_CONFIG} with ${SAFETENSORS}, or FunASR's config.yaml with model.pt`,
    names.length === 0 ? "an empty directory" : "neither",
    names.includes("lora") ? `name ${files.name}/lora` : "a whole model goes to --model",
  );
}
