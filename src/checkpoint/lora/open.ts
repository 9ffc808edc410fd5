import { type ModelFiles, expectModelFiles } from "../source.js";
import { openFunasrLora } from "./funasr.js";
import { PEFT_CONFIG, noLora, openPeft } from "./peft.js";
import type { Lora } from "./tensors.js";

/**
 * Opens a directory with a LoRA, as peft, FunASR or this package's own training writes it.
 * @throws ConfigError, CheckpointError  there is none, or one that cannot be applied
 */
export async function openLora(files: ModelFiles): Promise<Lora> {
  expectModelFiles("lora", files);
  const names = await files.list();
  if (names.includes(PEFT_CONFIG)) return openPeft(files);
  if (names.includes("config.yaml") && names.includes("model.pt")) return openFunasrLora(files);
  throw noLora(files, names);
}
