import { show } from "../../json.js";
import { checkpointError } from "../../formats/errors.js";
import { parseJsonObject } from "../json.js";
import type { Assets, NamedJson, PromptAssets } from "./layout.js";
import type { ModelFiles } from "../source.js";

const MAX_JSON_BYTES = 64 << 20; // Qwen3's tokenizer.json is 11 MB

/**
 * Reads a JSON file of a directory.
 * @throws CheckpointError  missing, too large, or not a JSON object
 */
export async function readJson(files: ModelFiles, name: string): Promise<NamedJson> {
  const file = `${files.name}/${name}`;
  return { file, json: parseJsonObject(await files.readText(name, MAX_JSON_BYTES), file, "content") };
}

/** Reads the first of these files that exists; an empty object with the first name if none does. */
export async function readFirst(files: ModelFiles, ...names: readonly string[]): Promise<NamedJson> {
  for (const name of names) if (await files.has(name)) return readJson(files, name);
  return { file: `${files.name}/${names[0]}`, json: {} };
}

/** The files of transformers' `save_pretrained` for the processor, the tokenizer and generation. */
export function directoryAssets(files: ModelFiles): Assets {
  const frontend = (): Promise<NamedJson> =>
    readFirst(files, "processor_config.json", "preprocessor_config.json");
  return {
    frontend,
    ...tokenizerAssets(files),
    async prompt() {
      const { audio_token: audioToken } = (await frontend()).json;
      return { ...(await readTemplate(files)), ...(typeof audioToken === "string" ? { audioToken } : {}) };
    },
  };
}

/** The assets in a tokenizer's directory. */
export function tokenizerAssets(
  files: ModelFiles,
): Pick<Assets, "tokenizer" | "tokenizerConfig" | "generation" | "tokenizerFiles"> {
  return {
    tokenizer: () => readJson(files, "tokenizer.json"),
    tokenizerConfig: () => readFirst(files, "tokenizer_config.json"),
    generation: () => readFirst(files, "generation_config.json"),
    tokenizerFiles: files,
  };
}

const MAX_TEMPLATE_BYTES = 1 << 20;

/**
 * The chat template, and its file: chat_template.jinja or tokenizer_config.json.
 * @throws CheckpointError  not a text
 */
async function readTemplate(files: ModelFiles): Promise<Pick<PromptAssets, "template" | "templateFile">> {
  const name = "chat_template.jinja";
  if (await files.has(name))
    return {
      template: await files.readText(name, MAX_TEMPLATE_BYTES),
      templateFile: `${files.name}/${name}`,
    };
  const { json, file } = await readFirst(files, "tokenizer_config.json");
  const template = json.chat_template ?? undefined;
  if (template === undefined) return {};
  if (typeof template === "string") return { template, templateFile: file };
  throw checkpointError(file, "chat_template", "a text", show(template));
}
