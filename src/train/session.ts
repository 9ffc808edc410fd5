import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { encoderSha256, isOfEncoder, otherEncoder } from "../checkpoint/migrate/encoder-hash.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { loadText } from "../decode/parts.js";
import { parseFrontendConfig } from "../frontend/config.js";
import { countedDevice, countingGpu } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { type FunAsrNano, encode, loadFunAsrNano } from "../model/fun-asr-nano.js";
import type { Utterance } from "../data/utterances.js";
import { type BatchRows, CountedTraining } from "./counted.js";
import { Corpus, type TrainClip, clipTokens } from "./corpus.js";
import { TrainError } from "./errors.js";
import { type ClipRows, FeatureCache } from "./feature-cache.js";
import type { RunFiles, TrainRun } from "./loop.js";
import { type LoraOptions, checkLora, loraShape, withLora } from "./lora.js";
import { makeOptimiser } from "./optimiser.js";
import { type AskedOptions, checkOptions, identityOf, settle } from "./options.js";
import { HashedSource } from "./parameter-hash.js";
import { type PlannedTraining, trainingUse } from "./plan-memory.js";
import { PoolKeeper, remembering } from "./pool-keeper.js";
import { type Alignable, alignable, isAlignable } from "./stages.js";
import { type TunablePart, isTuned } from "./tune.js";
import { makeDirectory } from "../node/make-directory.js";
import { continuedOptions } from "./state.js";

/** A data file's utterances. */
export interface DataFile {
  readonly name: string;
  readonly utterances: readonly Utterance[];
}

/** Model, data and directories of a run. */
export interface SessionSetup {
  readonly model: ModelFiles;
  /** Directories of LoRAs that are merged into the model before it is trained. */
  readonly begunWith?: readonly ModelFiles[];
  readonly data: DataFile;
  readonly validation?: DataFile | undefined;
  readonly tune: readonly TunablePart[];
  readonly options: AskedOptions;
  /** Whether the run continues from the directory's saved state. */
  readonly resume?: boolean;
  /** Of the LoRA, where `tune` has it. */
  readonly lora?: LoraOptions | undefined;
  /** Directory of the run. */
  readonly out: string;
  /** Directory of cached rows. Default: `cache` in `out`. */
  readonly cache?: string | undefined;
  /** Storage of the frozen weights on the GPU. Default: as in the checkpoint. */
  readonly weights?: WeightFormat | undefined;
  readonly skipBad: boolean;
  /**
   * Lines whose audio is cut short or damaged cannot be used. Default: they are, with a warning.
   */
  readonly strict?: boolean;
  /**
   * Called with each line about the data, and with a warning where the adaptor was made for another
   * encoder.
   */
  readonly onBad: (message: string) => void;
  /** Called with the bytes of weights loaded so far, and with the total. */
  readonly onLoad?: (done: number, total: number) => void;
  /** Called with the clips prepared so far, and with the total. */
  readonly onPrepare?: (done: number, total: number) => void;
}

/** Files of a run in this directory. */
export function runFiles(out: string): RunFiles {
  return {
    last: join(out, "last.safetensors"),
    previous: join(out, "previous.safetensors"),
    best: join(out, "best.safetensors"),
    metrics: join(out, "metrics.jsonl"),
  };
}

/** Whether a run in this directory has saved its state. */
export function isBegun({ last, previous }: RunFiles): boolean {
  return existsSync(last) || existsSync(previous);
}

/** A loaded model, its data and its optimiser; `free` gives their GPU memory back. */
export interface Session {
  readonly run: TrainRun;
  /** Gives the GPU memory of the weights and of the optimiser back. */
  free(): void;
}

/**
 * Loads the model and prepares the data: rows that the cache lacks are computed.
 * @throws TrainError  options out of range, lines that cannot be used, nothing to tune
 * @throws OutOfMemoryError  before anything is read: the device has no room for the training
 * @throws CheckpointError, ConfigError, TokenizerError  a model file is missing, damaged, or does not fit the others
 */
export async function openSession(gpu: Gpu, setup: SessionSetup): Promise<Session> {
  checkOptions(setup.options);
  checkTune(setup);
  await makeDirectory(setup.out);
  await removeUnfinished(setup.out);
  const checkpoint = await openCheckpoint(setup.model, setup.begunWith);
  try {
    return await open(gpu, checkpoint, setup);
  } finally {
    await checkpoint.close();
  }
}

/** @throws TrainError  a LoRA that cannot be, an alignment that nothing tuned takes part in */
function checkTune({ tune, lora, options }: SessionSetup): void {
  if (tune.includes("lora")) checkLora(lora);
  if (options.align > 0 && !tune.some((part) => part !== "lora"))
    throw new TrainError(`align: expected adaptor or encoder in what is tuned, got ${tune.join(", ")}`);
}

/** The checkpoint's weights on the GPU; the tuned ones in f32. */
function loadTuned(
  gpu: Gpu,
  checkpoint: Checkpoint,
  source: HashedSource,
  setup: SessionSetup,
): Promise<FunAsrNano> {
  return loadFunAsrNano(gpu, checkpoint.config, source, {
    weights: setup.weights,
    tune: isTuned(setup.tune),
    use: trainingUse(checkpoint.config, checkpoint, plannedTraining(setup)),
    onProgress: (bytes) => setup.onLoad?.(bytes, checkpoint.totalBytes),
  });
}

async function open(gpu: Gpu, checkpoint: Checkpoint, setup: SessionSetup): Promise<Session> {
  const { tune, out } = setup;
  const { config } = checkpoint;
  const { json, file } = await checkpoint.assets.frontend();
  const frontend = parseFrontendConfig(json, file);
  const { tokenizer, prompts, stopIds } = await loadText(checkpoint);
  const trained = tune.includes("encoder");
  const sha256 = await encoderOf(checkpoint, setup);
  const source = new HashedSource(checkpoint, isOfEncoder);
  const loaded = await loadTuned(gpu, checkpoint, source, setup);
  let model = loaded;
  try {
    if (tune.includes("lora")) model = withLora(gpu, loaded, loraShape(setup.lora));
    if (model.trainables.length === 0) throw new TrainError("train: expected something to tune, got nothing");
    const { inputSize, hiddenSize } = config.encoder;
    const corpus = new Corpus({
      config,
      frontend,
      tokenizer,
      prompts,
      cache: new FeatureCache(setup.cache ?? join(out, "cache"), trained ? inputSize : hiddenSize),
      encoder: trained ? "" : `${sha256} ${setup.weights ?? "as stored"}`,
      ...(trained ? {} : { encode: (features) => encodeClip(gpu, model, features) }),
    });
    const [clips, validation] = await prepare(corpus, setup);
    const asked = setup.resume ? await continuedOptions(setup.options, runFiles(out).last) : setup.options;
    const options = settle(asked, clips.map(clipTokens));
    const optimiser = makeOptimiser(gpu, model.trainables);
    const identity = identityOf(options, {
      encoder: sha256,
      tune: tune.join(","),
      lora: tune.includes("lora") ? JSON.stringify(loraShape(setup.lora)) : "none",
      weights: setup.weights ?? "as stored",
      data: digest(clips, options.align > 0),
      validation: digest(validation, false),
      parameters: sha256Of([config.llm, config.adaptor, source.digest()]),
    });
    const run: TrainRun = {
      pools: new PoolKeeper(gpu, poolBuffers(gpu, checkpoint, setup)),
      gpu,
      model,
      optimiser,
      corpus,
      clips,
      options,
      identity,
      files: runFiles(out),
      validation: { clips: validation, tokenizer, stopIds },
    };
    const free = (): void => {
      optimiser.free();
      model.free();
    };
    run.pools.trim(); // of what encoding the clips one by one has left
    return { run, free };
  } catch (error) {
    model.free();
    throw error;
  }
}

/** Bytes of each buffer that a micro-batch takes of the pools. */
function poolBuffers(
  gpu: Gpu,
  checkpoint: Checkpoint,
  { tune, weights, lora }: SessionSetup,
): (rows: BatchRows) => Promise<readonly number[]> {
  let training: Promise<CountedTraining> | undefined;
  return remembering(async (rows) => {
    const counting = (): Gpu => countingGpu(countedDevice(gpu));
    training ??= CountedTraining.load(counting(), checkpoint.config, checkpoint, { tune, weights, lora });
    return (await training).buffers(rows);
  });
}

function plannedTraining({ tune, lora, options }: SessionSetup): PlannedTraining {
  return {
    tune,
    lora,
    batchTokens: options.batchTokens,
    alignedOnly: options.epochs === undefined && options.steps <= options.align,
  };
}

/** Reports the clips that the alignment skips. */
function reportSkipped({ data, onBad }: SessionSetup, { clips, unknown, short }: Alignable): void {
  if (unknown + short === 0) return;
  onBad(
    `${data.name}: the alignment takes ${clips.length} clips; skipped: ${unknown} whose line has no transcript, ${short} with fewer frames than their transcript needs`,
  );
}

async function prepare(corpus: Corpus, setup: SessionSetup): Promise<[TrainClip[], TrainClip[]]> {
  const { data, validation, skipBad, strict, onBad, onPrepare } = setup;
  const total = data.utterances.length + (validation?.utterances.length ?? 0);
  const part = (file: DataFile, before: number, check?: (clip: TrainClip) => void): Promise<TrainClip[]> =>
    corpus.prepare(file.utterances, {
      file: file.name,
      skipBad,
      strict,
      onBad,
      ...(check ? { check } : {}),
      onProgress: (done) => onPrepare?.(before + done, total),
    });
  const clips = await part(data, 0, (clip) => checkBudget(clip, setup.options));
  if (setup.options.align > 0) reportSkipped(setup, alignable(clips));
  return [clips, validation ? await part(validation, data.utterances.length) : []];
}

/** SHA-256 of the encoder. Warns where the adaptor was made for another one. */
async function encoderOf(checkpoint: Checkpoint, { onBad }: SessionSetup): Promise<string> {
  const sha256 = await encoderSha256(checkpoint, createHash("sha256"));
  const mismatch = otherEncoder(checkpoint, sha256);
  if (mismatch !== undefined) onBad(`warning: ${mismatch}`);
  return sha256;
}

function sha256Of(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/**
 * @throws TrainError  a clip that no micro-batch has room for. Where there is an alignment alone,
 *                     audio counts alone, and clips that it skips need no room
 */
function checkBudget(clip: TrainClip, { batchTokens, steps, epochs, align }: AskedOptions): void {
  const aligned = isAlignable(clip) ? clip.prompt.audioLength : 0;
  const tokens = epochs !== undefined || steps > align ? clipTokens(clip) : aligned;
  if (tokens <= batchTokens) return;
  throw new TrainError(
    `tokens: expected at most ${batchTokens}, got ${tokens}; raise --batch-tokens, or cut the clip into parts`,
  );
}

/** SHA-256 over the clips in order: rows, prompts and answers, for an alignment transcripts too. */
function digest(clips: readonly TrainClip[], aligned: boolean): string {
  const hash = createHash("sha256");
  for (const { key, prompt, answer, transcript } of clips) {
    const parts = [key, prompt.ids, answer];
    hash.update(JSON.stringify(aligned ? [...parts, transcript ?? "unknown"] : parts));
  }
  return hash.digest("hex");
}

async function encodeClip(gpu: Gpu, model: FunAsrNano, { data, frames }: ClipRows): Promise<ClipRows> {
  const clips = { features: data, frames: [frames] };
  const [states] = await gpu.step(() => [encode(gpu, model, clips)]);
  return { frames, data: states as Float32Array };
}

/** Removes the unfinished files of a killed run. */
async function removeUnfinished(out: string): Promise<void> {
  for (const name of await readdir(out)) {
    if (/\.[0-9a-f]{12}\.part$/.test(name)) await rm(join(out, name), { recursive: true });
  }
}
