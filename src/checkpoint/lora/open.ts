import { type ModelFiles, expectModelFiles } from "../source.js";
import { openFunasrLora } from "./funasr.js";
import { PEFT_CONFIG, noLora, openPeft } from "./peft.js";
import type { Lora } from "./tensors.js";

/**
 * Opens a directory with a LoRA of peft, FunASR or this package's training.
 * @throws ConfigError, CheckpointError  there is no LoRA, or it cannot be applied
 */
export async function openLora(files: ModelFiles): Promise<Lora> {
  expectModelFiles("lora", files);
  const names = await files.list();
  if (names.includes(PEFT_CONFIG)) return openPeft(files);
  if (names.includes("config.yaml") && names.includes("model.pt")) return openFunasrLora(files);
  throw noLora(files, names);
}
