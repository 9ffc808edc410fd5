import { languageWarning } from "../decode/language-warnings.js";
import { loadTranscriber } from "../decode/load.js";
import type { Transcriber } from "../decode/transcriber.js";
import type { Gpu } from "../gpu/device.js";
import { PromptError } from "../tokenizer/errors.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import { timeLoading } from "./loaded.js";
import { openModel, warnOf, warnOfOtherEncoder } from "./model.js";
import { exitCode, note, report } from "./output.js";

/**
 * Loads a model with what there is to warn of. Undefined where it takes no such prompt, which is
 * reported as wrong usage: no clip could have it.
 */
export async function openTranscriber(
  gpu: Gpu,
  path: string,
  options: Parameters<typeof loadTranscriber>[2] & object,
  prompt: PromptOptions,
  debug = false,
): Promise<Transcriber | undefined> {
  const { model: transcriber } = await timeLoading(gpu, (onProgress) =>
    loadTranscriber(gpu, path, { ...options, onProgress }),
  );
  warnOf(transcriber.warnings);
  const checkpoint = await openModel(path, options.lora);
  await warnOfOtherEncoder(checkpoint).finally(() => checkpoint.close());
  if (transcriber.promptFallback !== undefined) note(`prompt: FunASR's own; ${transcriber.promptFallback}`);
  try {
    transcriber.checkPrompt(prompt);
  } catch (error) {
    report(error, debug);
    if (error instanceof PromptError) process.exitCode = exitCode.wrongUsage;
    return undefined;
  }
  const unknown = languageWarning(prompt.language, transcriber.languages);
  if (unknown !== undefined) note(`warning: ${unknown}`);
  return transcriber;
}
