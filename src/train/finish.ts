import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { baseSha256 } from "../checkpoint/lora/base-hash.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { isObject, show } from "../json.js";
import { withChecksums } from "../node/checksums.js";
import { replaceDirectoryAtomic, writeFileAtomic } from "../node/files.js";
import { TrainError, TrainFileError } from "./errors.js";
import { type LoraShape, adaptedWeights, adapterFiles, trainedFiles } from "./export.js";
import { readMetrics } from "./metrics.js";
import { runFiles } from "./session.js";
import { DamagedStateError, noneWhole, withAdvice } from "./state-file.js";
import { type SavedValues, readValues } from "./state.js";

export interface FinishOptions {
  /** The saved state to export. Default: the best one, or the last where nothing was validated. */
  readonly which?: "best" | "last" | undefined;
  readonly dtype?: "F32" | "BF16" | undefined;
  /** Merges the LoRA into the weights; else it is written alone. */
  readonly merge: boolean;
  /** Directories of the LoRAs that the run began with. */
  readonly begunWith?: readonly ModelFiles[];
  readonly onProgress?: (bytesWritten: number, total: number) => void;
  /**
   * Called with one line where a saved state is damaged and another one is used, or an earlier
   * output is set aside.
   */
  readonly onFallback?: (message: string) => void;
}

/** The files written of a run. */
export interface Finished {
  readonly step: number;
  /** The state that was exported, as `--export` names it. */
  readonly state: "best" | "last";
  /** Directory of the complete checkpoint, unless a LoRA was trained and not merged. */
  readonly checkpoint?: string;
  /** Directory of the LoRA, and of what else was trained beside it, where it was not merged. */
  readonly lora?: string;
}

/**
 * Writes the checkpoint of a run to OUT/checkpoint. A LoRA that is not merged goes to OUT/lora,
 * with all other trained weights, since weights without their LoRA are no model of the run. An
 * earlier output is replaced. A list beside the files has the SHA-256 of each; readers of the
 * directory check it.
 * @param model  the checkpoint that the run began with
 * @throws TrainError  the run has no saved state
 */
export async function writeTrained(
  model: ModelFiles,
  out: string,
  options: FinishOptions,
): Promise<Finished> {
  const { file, state } = await savedValues(out, options);
  const written = {
    step: state.progress.step,
    state: file === runFiles(out).best ? "best" : "last",
  } as const;
  const { identity, values } = state;
  const lora = parseLora(file, identity.lora);
  const checkpoint = await openCheckpoint(model, options.begunWith);
  try {
    const merge = lora && options.merge ? lora : undefined;
    if (lora && !merge) {
      const directory = join(out, "lora");
      const bases = adaptedWeights(values.keys()).flatMap((name) => checkpoint.tensors.get(name) ?? []);
      const sha256 = await baseSha256(checkpoint, bases);
      const about = { base: checkpoint.name, baseSha256: sha256, dtype: options.dtype };
      await replaceDirectoryAtomic(directory, withChecksums(adapterFiles(values, lora, about)));
      await setAside(out, options.onFallback);
      return { ...written, lora: directory };
    }
    const target = join(out, "checkpoint");
    const outputs = await trainedFiles(checkpoint, values, {
      dtype: options.dtype,
      merge,
      onProgress: (bytes) => options.onProgress?.(bytes, total),
    });
    const total = outputs.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    await replaceDirectoryAtomic(target, withChecksums(outputs));
    return { ...written, checkpoint: target };
  } finally {
    await checkpoint.close();
  }
}

/**
 * Renames an earlier checkpoint of the directory to a free name, because it does not hold the new
 * LoRA.
 */
async function setAside(out: string, onNote: FinishOptions["onFallback"]): Promise<void> {
  const earlier = join(out, "checkpoint");
  if (!existsSync(earlier)) return;
  let aside = `${earlier}.earlier`;
  for (let i = 2; existsSync(aside); i++) aside = `${earlier}.earlier-${i}`;
  await rename(earlier, aside);
  onNote?.(`${earlier}: it does not hold this LoRA; it is called ${basename(aside)} now`);
}

/**
 * The saved state to write: the one that was asked for; where it is damaged, the next one that is
 * whole. A best state that was asked for by name has no substitute.
 * @throws TrainError  there is none  @throws DamagedStateError  none is whole
 */
async function savedValues(
  out: string,
  { which, onFallback }: FinishOptions,
): Promise<{ file: string; state: SavedValues }> {
  const files = runFiles(out);
  const asked = which ?? (existsSync(files.best) ? "best" : "last");
  const path = files[asked];
  if (!existsSync(path) && !(asked === "last" && existsSync(files.previous))) {
    const other = which === "best" && existsSync(files.last) ? "--export last" : "train first";
    throw new TrainError(`${out}: expected a saved state, ${basename(path)}, got none; ${other}`);
  }
  const order = { best: which === "best" ? [path] : [path, files.last], last: [path, files.previous] }[asked];
  let first: DamagedStateError | undefined;
  for (const file of order) {
    try {
      const state = await readValues(file);
      if (first) onFallback?.(`${first.message}; ${file}, of step ${state.progress.step}, is used instead`);
      return { file, state };
    } catch (error) {
      if (!(error instanceof DamagedStateError)) throw error;
      if (which === "best") throw withAdvice(error, "--export last writes the last state");
      if (first) throw noneWhole(first, error);
      first = error;
    }
  }
  throw first!;
}

/**
 * The LoRA of a saved state's identity, as openSession wrote it there.
 * @throws TrainFileError  it is something else
 */
function parseLora(file: string, stored: unknown): LoraShape | undefined {
  if (stored === "none") return undefined;
  let shape: unknown;
  try {
    shape = JSON.parse(String(stored));
  } catch {
    shape = undefined;
  }
  if (isObject(shape)) {
    const { rank, alpha, dropout, targets } = shape;
    const numbers = [rank, alpha, dropout].every((value) => typeof value === "number");
    if (numbers && Array.isArray(targets)) return shape as unknown as LoraShape;
  }
  const expected = "rank, alpha, dropout and targets, or none";
  throw new TrainFileError({ file, field: "lora", expected, got: show(stored) });
}

/**
 * Draws a run's report.
 * @param onDamage  as readMetrics
 * @returns its path
 * @throws TrainError  the directory has no metrics.jsonl, or an empty one
 */
export async function writeReport(out: string, onDamage?: (message: string) => void): Promise<string> {
  const { metrics } = runFiles(out);
  const lines = await readMetrics(metrics, onDamage);
  if (lines.length === 0)
    throw new TrainError(`${metrics}: expected the steps of a run, got none; name the --out of a training`);
  const { trainingReport } = await import("./report.js"); // its charts take a while to load
  const path = join(out, "report.html");
  const html = trainingReport(`Training run ${basename(out)}`, lines);
  await writeFileAtomic(path, [new TextEncoder().encode(html)]);
  return path;
}
