import { createHash } from "node:crypto";
import { Option } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { encoderMismatch } from "../checkpoint/migrate/encoder-hash.js";
import { type WeightFormat, weightBlocks } from "../gpu/matrix.js";
import { resolveModel } from "../hub/resolve.js";
import { ggufPaths, hasBase, loraFiles, modelFiles, withBase } from "../node/model-files.js";
import { note, withBar } from "./output.js";

/** The formats of --weights. */
export const weightFormats = Object.keys(weightBlocks) as WeightFormat[];

/** How to name a model, for help texts. */
export const modelForms =
  "checkpoint directory, GGUF file (or ENCODER.gguf,LLM.gguf), model.pt.* of FunASR's trainer, or OWNER/NAME[@REVISION] on the hub";

/** The option of every command that opens a model. */
export function loraOption(
  about = "LoRA to merge into the weights as they are read: a directory of peft, of FunASR, or RUN/lora; may be repeated",
): Option {
  return new Option("--lora <directory>", about).argParser((path: string, before: string[] | undefined) => [
    ...(before ?? []),
    path,
  ]);
}

/** The option of every command that puts one model's weights on the GPU. */
export function weightsOption(
  about = "storage of the weights on the GPU; default: as in the checkpoint",
): Option {
  return new Option("--weights <format>", about).choices(weightFormats);
}

/** The option of the commands that read what FunASR's trainer wrote. */
export function baseOption(): Option {
  return new Option(
    "--base <model>",
    "checkpoint that FunASR's trainer began from, for what its output lacks: frozen tensors, the LLM's config, the tokenizer",
  );
}

/**
 * The path of a model, with that of its base; downloads them with a bar if necessary.
 * @param base  the checkpoint that it was trained from
 */
export async function findModel(model: string, base?: string): Promise<string> {
  if (base !== undefined) return withBase(await findModel(model), await findModel(base));
  if (ggufPaths(model) || hasBase(model)) return model;
  return withBar("downloading", (onProgress) => resolveModel(model, { onNote: note, onProgress }));
}

/** Opens a checkpoint with its LoRAs; downloads it if necessary. */
export async function openModel(model: string, lora?: readonly string[]): Promise<Checkpoint> {
  return openCheckpoint(modelFiles(await findModel(model)), loraFiles(lora));
}

/**
 * Warns where a checkpoint's adaptor was made for another encoder. Reads the encoder if the files
 * name one.
 */
export async function warnOfOtherEncoder(checkpoint: Checkpoint): Promise<void> {
  const mismatch = await encoderMismatch(checkpoint, createHash("sha256"));
  if (mismatch !== undefined) note(`warning: ${mismatch}`);
}

/** Prints the contradictions between a checkpoint's files. */
export function warnOf(warnings: readonly string[]): void {
  for (const warning of warnings) note(`warning: ${warning}`);
}
