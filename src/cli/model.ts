import { createHash } from "node:crypto";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { encoderMismatch } from "../checkpoint/encoder-hash.js";
import { resolveModel } from "../hub/resolve.js";
import { ggufPaths, modelFiles } from "../node/model-files.js";
import { note, progressBar } from "./output.js";

/** What every command accepts for a model. */
export const modelForms =
  "checkpoint directory, GGUF file (or ENCODER.gguf,LLM.gguf), or OWNER/NAME[@REVISION] on the hub";

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
export async function warnOfOtherEncoder(model: string): Promise<void> {
  const checkpoint = await openCheckpoint(modelFiles(model));
  try {
    const mismatch = await encoderMismatch(checkpoint, createHash("sha256"));
    if (mismatch !== undefined) note(`warning: ${mismatch}`);
  } finally {
    await checkpoint.close();
  }
}
