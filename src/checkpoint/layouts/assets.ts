import { show } from "../../json.js";
import { CheckpointError } from "../../formats/errors.js";
import { parseJsonObject } from "../json.js";
import type { Assets, NamedJson, PromptAssets } from "./layout.js";
import type { ModelFiles } from "../source.js";

const MAX_JSON_BYTES = 64 << 20; // Qwen3's tokenizer.json is 11 MB

/** One JSON file of a directory. @throws CheckpointError  missing, too large, not a JSON object */
export async function readJson(files: ModelFiles, name: string): Promise<NamedJson> {
  const file = `${files.name}/${name}`;
  return { file, json: parseJsonObject(await files.readText(name, MAX_JSON_BYTES), file, "content") };
}

/** The first of these files that the directory has; an empty object under the first name where it has none. */
export async function readFirst(files: ModelFiles, ...names: readonly string[]): Promise<NamedJson> {
  for (const name of names) if (await files.has(name)) return readJson(files, name);
  return { file: `${files.name}/${names[0]}`, json: {} };
}

/** What transformers' `save_pretrained` writes for the processor, the tokenizer and generation. */
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

/** The part of the assets that lies in a tokenizer's directory. */
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

/** The chat template, from its own file or from tokenizer_config.json, and that file. @throws CheckpointError  it is no text */
async function readTemplate(files: ModelFiles): Promise<Pick<PromptAssets, "template" | "templateFile">> {
  const own = "chat_template.jinja";
  if (await files.has(own)) {
    return { template: await files.readText(own, MAX_TEMPLATE_BYTES), templateFile: `${files.name}/${own}` };
  }
  const { json, file } = await readFirst(files, "tokenizer_config.json");
  const template = json.chat_template ?? undefined;
  if (template === undefined) return {};
  if (typeof template === "string") return { template, templateFile: file };
  throw new CheckpointError({ file, field: "chat_template", expected: "a text", got: show(template) });
}
