import type { ConfigReader } from "../../config/reader.js";
import type { Container } from "../../formats/container.js";
import { checkpointError } from "../../formats/errors.js";
import { type ModelFiles, closeOnError } from "../source.js";
import { openTorchFile } from "../torch/torch-file.js";
import { openWeights } from "../layouts/funasr-weights.js";
import { readYaml } from "../layouts/yaml.js";
import { type Lora, type ScaleOf, checkRank, collectLora, fileLora, isLoraName } from "./tensors.js";

const WEIGHTS = "model.pt";

/**
 * Separates a LoRA from its base. FunASR trains a LoRA inside the LLM, and saves the unmerged base
 * and the factors in one model.pt: NAME.weight, NAME.lora_A, NAME.lora_B.
 * @param yaml  config.yaml
 * @returns     the container without the factors, and the LoRA if there are factors
 * @throws ConfigError  config.yaml has no LoRA, or one of another rank
 * @source funasr 1.4 `FunASRNano._apply_lora_to_llm`, `lora.layers.Linear`
 */
export function splitLora(container: Container, yaml: ConfigReader): { container: Container; lora?: Lora } {
  const stored = [...container.tensors.values()];
  const factors = stored.filter(({ name }) => isLoraName(name));
  if (factors.length === 0) return { container };
  if (factors.length === stored.length) {
    const advice = "give its base as the model, and this directory with --lora";
    const got = `a LoRA alone, ${stored.length} tensors`;
    throw checkpointError(container.name, WEIGHTS, "a model", got, advice);
  }
  const base = stored.filter(({ name }) => !isLoraName(name));
  const read: Parameters<typeof collectLora>[2] = (tensor) => container.read(tensor, 0, tensor.byteLength);
  const name = `${container.name}/${WEIGHTS}`;
  return {
    container: { ...container, tensors: new Map(base.map((tensor) => [tensor.name, tensor])) },
    lora: {
      name,
      ...collectLora(name, factors, read, scaleOf(yaml)),
      close: () => Promise.resolve(), // the container is closed with the checkpoint
    },
  };
}

/** Opens the LoRA in a FunASR directory: `lora_A` and `lora_B` of model.pt. */
export async function openFunasrLora(files: ModelFiles): Promise<Lora> {
  const yaml = await readYaml(files, "config.yaml");
  const source = await openWeights(files);
  return closeOnError(source, async () => {
    const infos = [...(await openTorchFile(source)).values()];
    const factors = infos.filter(({ name }) => isLoraName(name));
    return {
      name: files.name,
      ...fileLora(source, WEIGHTS, factors, scaleOf(yaml)),
      close: () => source.close(),
    };
  });
}

/** alpha / r of config.yaml, with FunASR's defaults. */
function scaleOf(yaml: ConfigReader): ScaleOf {
  const llm = yaml.optional("llm_conf");
  const conf = llm.optional("lora_conf");
  if (!llm.flag("use_lora", llm.has("lora_conf"))) {
    const advice = "model.pt holds lora_A and lora_B, and their scale is in llm_conf.lora_conf";
    throw llm.refusal("use_lora", "true", llm.value("use_lora") ?? "none", advice);
  }
  const rank = conf.integerOr("r", 16);
  const alpha = conf.isNull("lora_alpha") ? 32 : conf.positive("lora_alpha");
  return (module, got) => {
    checkRank(conf, rank, got, `${module} in model.pt`);
    return alpha / rank;
  };
}
