import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { isObject } from "../json.js";
import { writeDirectoryAtomic, writeFileAtomic } from "../node/files.js";
import { TrainError } from "./errors.js";
import { type LoraShape, adapterFiles, trainedFiles } from "./export.js";
import { readMetrics } from "./metrics.js";
import { trainingReport } from "./report.js";
import { runFiles } from "./session.js";
import { readValues } from "./state.js";

export interface FinishOptions {
  /** Which of the saved states. Default: the best one, or the last where nothing was validated. */
  readonly which?: "best" | "last" | undefined;
  readonly dtype?: "F32" | "BF16" | undefined;
  /** Merges the LoRA into the weights; else it is written beside them. */
  readonly merge: boolean;
  readonly onProgress?: (bytesWritten: number, total: number) => void;
}

/** What was written of a run. */
export interface Finished {
  readonly step: number;
  /** Directory of the complete checkpoint. */
  readonly checkpoint: string;
  /** Directory of the LoRA, where one was trained and not merged. */
  readonly lora?: string;
}

/**
 * Writes the checkpoint of a run: OUT/checkpoint, and OUT/lora for a LoRA that is not merged. Earlier ones are replaced.
 * @param model  the checkpoint that the run began with
 * @throws TrainError  the run has no saved state
 */
export async function writeTrained(
  model: ModelFiles,
  out: string,
  options: FinishOptions,
): Promise<Finished> {
  const files = runFiles(out);
  const which = options.which ?? (existsSync(files.best) ? "best" : "last");
  if (!existsSync(files[which]))
    throw new TrainError(`${out}: expected a saved state, ${basename(files[which])}, got none; train first`);
  const { progress, identity, values } = await readValues(files[which]);
  const lora = parseLora(identity.lora);
  const checkpoint = await openCheckpoint(model);
  try {
    const merge = lora && options.merge ? lora : undefined;
    const target = join(out, "checkpoint");
    const outputs = await trainedFiles(checkpoint, values, {
      dtype: options.dtype,
      merge,
      onProgress: (bytes) => options.onProgress?.(bytes, total),
    });
    const total = outputs.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    await rm(target, { recursive: true, force: true });
    await writeDirectoryAtomic(target, outputs);
    const finished = { step: progress.step, checkpoint: target };
    if (!lora || merge) return finished;
    const directory = join(out, "lora");
    await rm(directory, { recursive: true, force: true });
    await writeDirectoryAtomic(directory, adapterFiles(values, lora, checkpoint.name));
    return { ...finished, lora: directory };
  } finally {
    await checkpoint.close();
  }
}

function parseLora(stored: unknown): LoraShape | undefined {
  if (typeof stored !== "string" || stored === "none") return undefined;
  const shape: unknown = JSON.parse(stored);
  return isObject(shape) ? (shape as unknown as LoraShape) : undefined;
}

/** Draws a run's report. @returns its path @throws TrainError  the directory has no metrics.jsonl, or an empty one */
export async function writeReport(out: string): Promise<string> {
  const { metrics } = runFiles(out);
  const lines = await readMetrics(metrics);
  if (lines.length === 0) throw new TrainError(`${metrics}: expected the steps of a run, got none`);
  const path = join(out, "report.html");
  const html = trainingReport(`Training run ${basename(out)}`, lines);
  await writeFileAtomic(path, [new TextEncoder().encode(html)]);
  return path;
}
