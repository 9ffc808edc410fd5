import { parseModelConfig } from "../../config/model-config.js";
import { directoryAssets } from "./assets.js";
import type { Container } from "../../formats/container.js";
import { isObject } from "../../json.js";
import { parseJsonObject } from "../json.js";
import { KEY_MAPS } from "./key-maps.js";
import type { OpenedLayout } from "./layout.js";
import type { ModelFiles } from "../source.js";

const MAX_CONFIG_BYTES = 1_000_000;

/**
 * The layout of transformers' `save_pretrained`: config.json beside the safetensors, in any
 * released spelling.
 * @throws ConfigError      config.json cannot be run (see parseModelConfig)
 * @throws CheckpointError  config.json is missing, or not JSON
 */
export async function transformersLayout(files: ModelFiles, container: Container): Promise<OpenedLayout> {
  const configFile = `${files.name}/config.json`;
  const text = await files.readText("config.json", MAX_CONFIG_BYTES);
  const config = parseModelConfig(parseJsonObject(text, configFile, "content"), configFile);
  const assets = directoryAssets(files);
  const opened = { container, config, configFile, keyMaps: KEY_MAPS, assets };
  if ((await files.has("processor_config.json")) || (await files.has("preprocessor_config.json")))
    return { ...opened, notes: [] };
  const notes = ["processor_config.json: no such file, so the front-end is transformers' default"];
  if (!isObject(config.raw) || config.raw.audio_token_rule === undefined) return { ...opened, notes };
  const warning = `${files.name}/processor_config.json: expected the scale of the waveform in it, got no such file; the scale is taken as 1, put the file back if convert wrote another`;
  return { ...opened, notes, warnings: [warning] };
}
