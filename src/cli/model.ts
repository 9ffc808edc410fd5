import { createHash } from "node:crypto";
import { Option } from "commander";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { encoderMismatch } from "../checkpoint/migrate/encoder-hash.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { resolveModel } from "../hub/resolve.js";
import { modelDirectory } from "../node/files.js";
import { ggufPaths, modelFiles } from "../node/model-files.js";
import { note, progressBar } from "./output.js";

/** What every command accepts for a model. */
export const modelForms =
  "checkpoint directory, GGUF file (or ENCODER.gguf,LLM.gguf), or OWNER/NAME[@REVISION] on the hub";

/** The option of every command that opens a model. */
export function loraOption(
  about = "LoRA to merge into the weights as they are read: a directory of peft, of FunASR, or RUN/lora; may be repeated",
): Option {
  return new Option("--lora <directory>", about).argParser((path: string, before: string[] | undefined) => [
    ...(before ?? []),
    path,
  ]);
}

/** The directories of --lora. */
export function loraFiles(paths: readonly string[] | undefined): ModelFiles[] {
  return (paths ?? []).map((path) => modelDirectory(path));
}

/** The path of a model; one that has to be downloaded is, with a bar. */
export async function findModel(model: string): Promise<string> {
  if (ggufPaths(model)) return model;
  let bar: ReturnType<typeof progressBar> | undefined;
  try {
    return await resolveModel(model, {
      onNote: note,
      onProgress: (done, total) => (bar ??= progressBar("downloading", total)).update(done),
    });
  } finally {
    bar?.stop();
  }
}

/** Tells on stderr where a checkpoint's encoder is not the one that its adaptor was made for: reads the encoder if the files name one. */
export async function warnOfOtherEncoder(model: string, lora?: readonly string[]): Promise<void> {
  const checkpoint = await openCheckpoint(modelFiles(model), loraFiles(lora));
  try {
    const mismatch = await encoderMismatch(checkpoint, createHash("sha256"));
    if (mismatch !== undefined) note(`warning: ${mismatch}`);
  } finally {
    await checkpoint.close();
  }
}

/** Prints what a checkpoint's files contradict each other in. */
export function warnOf(warnings: readonly string[]): void {
  for (const warning of warnings) note(`warning: ${warning}`);
}
