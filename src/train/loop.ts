import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import type { Gpu } from "../gpu/device.js";
import { lowbias32 } from "../hash.js";
import type { FunAsrNano } from "../model/fun-asr-nano.js";
import { collapseAlarm, normAlarm, normWindow } from "./alarms.js";
import { makeBatch } from "./batch.js";
import type { Corpus, TrainClip } from "./corpus.js";
import { explainNonFinite } from "./diagnose.js";
import { TrainError } from "./errors.js";
import { MetricsFile, type StepMetrics, type ValidationMetrics } from "./metrics.js";
import { type Optimiser, clearMoments, update } from "./optimiser.js";
import type { TrainOptions } from "./options.js";
import type { PoolKeeper } from "./pool-keeper.js";
import { learningRate } from "./schedule.js";
import { sum } from "../arrays.js";
import { type MicroBatch, type Stage, stagesOf } from "./stages.js";
import { DamagedStateError, noneWhole } from "./state-file.js";
import { type Identity, type Progress, loadState, saveState } from "./state.js";
import { type ValidationSet, validate } from "./validate.js";

/** A run, ready to begin or to go on. */
export interface TrainRun {
  readonly gpu: Gpu;
  readonly model: FunAsrNano;
  readonly optimiser: Optimiser;
  readonly corpus: Corpus;
  readonly clips: readonly TrainClip[];
  readonly validation: ValidationSet;
  readonly options: TrainOptions;
  readonly identity: Identity;
  readonly files: RunFiles;
  readonly pools: PoolKeeper;
}

/** Files of a run. */
export interface RunFiles {
  readonly last: string;
  /** The state before the last one: a run goes back to it where the last one is damaged. */
  readonly previous: string;
  readonly best: string;
  readonly metrics: string;
}

/** Callbacks of a training run. */
export interface TrainEvents {
  /** Ends the run after the current step, with its state saved. */
  readonly signal?: AbortSignal;
  /** Called once, with the steps done and the steps of the whole run. */
  readonly onStart?: (done: number, total: number) => void;
  /** Called after each step. */
  readonly onStep?: (metrics: StepMetrics) => void;
  /** Called after each validation. */
  readonly onValidation?: (metrics: ValidationMetrics) => void;
  /** Called with one line where the gradient norm or the outputs look wrong. */
  readonly onAlarm?: (message: string) => void;
  /**
   * Called with one line where the last state is damaged and the run goes back to the one before
   * it, or metrics or cached rows were damaged.
   */
  readonly onFallback?: (message: string) => void;
}

/**
 * Trains to the last step. Every `every` steps and at the end: validation, and a saved state.
 * @param resume  go on from the saved state, where there is one: losses and weights are then, bit
 *                for bit, those of a run that was never stopped
 * @throws TrainError  a loss (of training or validation) or a gradient that is not finite, named;
 *                     the weights and the saved state are those before it
 */
export async function train(run: TrainRun, resume: boolean, events: TrainEvents = {}): Promise<Progress> {
  const { gpu, options, files, optimiser } = run;
  const stages = stagesOf(run.clips, options);
  let progress: Progress = { step: 0, position: 0, norms: [] };
  if (resume && (existsSync(files.last) || existsSync(files.previous))) progress = await goOn(run, events);
  else for (const path of [files.best, files.previous]) await rm(path, { force: true }); // of a run that was killed before its first saved state
  const metrics = await MetricsFile.open(files.metrics, progress, events.onFallback);
  events.onStart?.(progress.step, options.steps);
  try {
    while (progress.step < options.steps) {
      const stage = stages.findLast(({ first }) => first <= progress.step)!;
      if (stage.first > 0 && stage.first === progress.step) {
        await clearMoments(gpu, optimiser);
        progress.norms = [];
      }
      const step = await optimiserStep(run, stage, progress);
      await metrics.append(step);
      progress.metrics = metrics.digest;
      events.onStep?.(step);
      alarm(events, step, normAlarm(progress.norms, step.gradientNorm, stage.rateOption));
      progress.norms = [...progress.norms, step.gradientNorm].slice(-normWindow);
      progress.position += options.accumulate;
      progress.step = step.step;
      if (step.step % options.every !== 0 && step.step !== options.steps) {
        if (!events.signal?.aborted) continue;
        await saveLast(run, progress);
        break;
      }
      run.pools.trim();
      const validation = await validate(run, progress.step);
      run.pools.trim();
      checkFinite(validation, stage);
      await metrics.append(validation);
      progress.metrics = metrics.digest;
      events.onValidation?.(validation);
      alarm(events, step, collapseAlarm(validation.validation.cosine, stage.rateOption));
      await save(run, progress, validation);
      if (events.signal?.aborted) break;
    }
  } finally {
    await metrics.close();
    const damaged = run.corpus.damagedRows();
    if (damaged !== undefined) events.onFallback?.(damaged);
  }
  return progress;
}

/**
 * Loads the last state, or the one before it where the last one is damaged.
 * @throws DamagedStateError  both are  @throws TrainFileError  the state is of another run
 */
async function goOn({ gpu, files, optimiser, identity }: TrainRun, events: TrainEvents): Promise<Progress> {
  const load = (path: string): Promise<Progress> => loadState(gpu, path, optimiser.entries, identity);
  try {
    return await load(files.last);
  } catch (error) {
    if (!(error instanceof DamagedStateError)) throw error;
    const progress = await load(files.previous).catch((other: unknown) => {
      throw other instanceof DamagedStateError ? noneWhole(error, other) : other;
    });
    await rename(files.previous, files.last); // a damaged state is never kept as the previous one
    events.onFallback?.(
      `${error.message}; the run goes back to step ${progress.step}, the state saved before`,
    );
    return progress;
  }
}

/** @throws TrainError  a NaN would be the best validation for ever, and is no JSON */
function checkFinite({ step, validation }: ValidationMetrics, { rateOption }: Stage): void {
  for (const name of ["loss", "cosine"] as const) {
    const value = validation[name];
    if (value === undefined || Number.isFinite(value)) continue;
    throw new TrainError(
      `step ${step}: validation: expected a finite ${name}, got ${value}; check the validation data, or lower ${rateOption}`,
    );
  }
}

function alarm({ onAlarm }: TrainEvents, { step }: StepMetrics, message: string | undefined): void {
  if (message !== undefined) onAlarm?.(`step ${step}: ${message}`);
}

/**
 * The state, and before it the weights of the best validation so far: a kill between the two costs
 * nothing.
 */
async function save(
  run: TrainRun,
  progress: Progress,
  { step, validation }: ValidationMetrics,
): Promise<void> {
  const { gpu, files, optimiser, identity } = run;
  const { loss, cer = 0 } = validation;
  const { best } = progress;
  if (loss !== undefined && (!best || cer < best.cer || (cer === best.cer && loss < best.loss))) {
    progress.best = { step, cer, loss };
    await saveState(gpu, files.best, optimiser.entries, progress, identity, { moments: false });
  }
  await saveLast(run, progress);
}

async function saveLast({ gpu, files, optimiser, identity }: TrainRun, progress: Progress): Promise<void> {
  const keep = files.previous;
  await saveState(gpu, files.last, optimiser.entries, progress, identity, { keep });
}

/**
 * Micro-batches forwards and backwards, then one update; each micro-batch's backward pass is one
 * submit.
 */
async function optimiserStep(run: TrainRun, stage: Stage, progress: Progress): Promise<StepMetrics> {
  const { gpu, options, optimiser, model, corpus } = run;
  const start = performance.now();
  const within = progress.step - stage.first; // steps of the stage that are done
  const first = within * options.accumulate;
  const group = Array.from({ length: options.accumulate }, (_, i) => stage.stream.at(first + i));
  const clipsOf = (batch: { readonly clips: readonly number[] }): TrainClip[] =>
    batch.clips.map((i) => stage.clips[i]);
  const clips = group.map(clipsOf);
  const denominator = sum(clips.flat().map(stage.terms));
  const rate = learningRate(stage.schedule, within);
  const { beta1, beta2, eps, decay } = options;
  const batches: MicroBatch[] = [];
  let total = 0;
  let squares: ArrayLike<number> = [];
  let norm = NaN;
  for (const [i, members] of clips.entries()) {
    const batch = await makeBatch(corpus, members);
    batches.push({ batch, members });
    await run.pools.before(stage.rows(members));
    const seed = lowbias32(lowbias32(options.seed) + progress.position + i);
    const pass = await stage.pass(gpu, model, batch, { members, denominator, seed });
    const last = i === clips.length - 1;
    const stepped = gpu.step(() => {
      const losses = pass.record();
      if (!last) return losses;
      const adam = { learningRate: rate, step: within + 1, beta1, beta2, eps, decay };
      const found = update(gpu, optimiser, options.clip, adam, stage.trains);
      return [found.squares, found.clip, ...losses];
    });
    run.pools.ahead(stage.rows(clipsOf(stage.stream.at(first + i + 1))));
    const results = await stepped;
    if (last) [squares, norm] = [results[0], results[1][0]];
    total += pass.loss ?? sum(results.at(-1)!) / denominator;
  }
  const step = progress.step + 1;
  if (!Number.isFinite(total) || !Number.isFinite(norm))
    throw await explainNonFinite(run, stage, step, batches, squares);
  return {
    step,
    ...(stage.loss === "alignment" ? { aligned: true } : {}),
    epoch: group.at(-1)!.epoch,
    loss: total,
    gradientNorm: norm,
    learningRate: rate,
    tokens: sum(clips.flat().map(stage.tokens)),
    answerTokens: denominator,
    seconds: (performance.now() - start) / 1000,
    gpuBytes: gpu.bytes.reserved,
  };
}
