import { ConfigReader } from "../../config/reader.js";
import type { Container } from "../../formats/container.js";
import { CheckpointError } from "../../formats/errors.js";
import { readRange } from "../safetensors/safetensors.js";
import type { ModelFiles } from "../source.js";
import { openTorchFile } from "../torch/torch-file.js";
import { MAX_YAML, parseYamlObject } from "../layouts/yaml.js";
import { type Lora, collectLora, isLoraName } from "./tensors.js";

const CONFIG = "config.yaml";
const WEIGHTS = "model.pt";

/**
 * FunASR trains a LoRA inside the LLM and saves base and factors in one model.pt, the base unmerged: NAME.weight, NAME.lora_A, NAME.lora_B.
 * This takes the factors out of the container.
 * @param yaml  config.yaml
 * @returns     the container without them, and the LoRA; without one where there are no factors
 * @throws ConfigError      config.yaml has no LoRA, or one of another rank
 * @source funasr 1.4 `FunASRNano._apply_lora_to_llm`, `lora.layers.Linear`
 */
export function splitLora(container: Container, yaml: ConfigReader): { container: Container; lora?: Lora } {
  const all = [...container.tensors.values()];
  const factors = all.filter(({ name }) => isLoraName(name));
  if (factors.length === 0) return { container };
  if (factors.length === all.length) {
    const advice = "give its base as the model, and this directory with --lora";
    const got = `a LoRA alone, ${all.length} tensors`;
    throw new CheckpointError({ file: container.name, field: WEIGHTS, expected: "a model", got, advice });
  }
  const rest = all.filter(({ name }) => !isLoraName(name));
  const read: Parameters<typeof collectLora>[2] = (tensor) => container.read(tensor, 0, tensor.byteLength);
  return {
    container: { ...container, tensors: new Map(rest.map((tensor) => [tensor.name, tensor])) },
    lora: {
      name: `${container.name}/${WEIGHTS}`,
      ...collectLora(`${container.name}/${WEIGHTS}`, factors, read, scaleOf(yaml)),
      close: () => Promise.resolve(), // the container is closed with the checkpoint
    },
  };
}

/** Opens the LoRA in a directory of FunASR's: `lora_A` and `lora_B` of model.pt; what else the file holds is left alone. */
export async function openFunasrLora(files: ModelFiles): Promise<Lora> {
  const configFile = `${files.name}/${CONFIG}`;
  const yaml = ConfigReader.of(
    parseYamlObject(await files.readText(CONFIG, MAX_YAML), configFile),
    configFile,
  );
  const source = await files.open(WEIGHTS);
  try {
    const infos = await openTorchFile(source);
    const factors = [...infos.values()].filter(({ name }) => isLoraName(name));
    const stored = factors.map((info) => ({ ...info, file: WEIGHTS }));
    const read: Parameters<typeof collectLora>[2] = ({ name, byteLength }) =>
      readRange(source, infos.get(name)!, 0, byteLength);
    return {
      name: files.name,
      ...collectLora(source.name, stored, read, scaleOf(yaml)),
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** alpha / r of config.yaml, whose defaults are FunASR's. */
function scaleOf(yaml: ConfigReader): (module: string, rank: number) => number {
  const llm = yaml.optional("llm_conf");
  const conf = llm.optional("lora_conf");
  if (!llm.flag("use_lora", llm.has("lora_conf"))) {
    const advice = "model.pt holds lora_A and lora_B, and their scale is in llm_conf.lora_conf";
    throw llm.refusal("use_lora", "true", llm.value("use_lora") ?? "none", advice);
  }
  const rank = conf.integerOr("r", 16);
  const alpha = conf.isNull("lora_alpha") ? 32 : conf.positive("lora_alpha");
  return (module, got) => {
    if (got !== rank)
      throw conf.refusal(
        "r",
        `${got}, the rank of ${module} in model.pt`,
        rank,
        "do the two files belong together?",
      );
    return alpha / rank;
  };
}
