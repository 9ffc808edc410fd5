import { isObject, show } from "../json.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { type SafetensorsFile, readTensor } from "../checkpoint/safetensors/safetensors.js";
import type { WriteTensor } from "../checkpoint/safetensors/write.js";
import { writeFileAtomic } from "../node/files.js";
import { TrainFileError } from "./errors.js";
import type { OptimiserEntry } from "./optimiser.js";
import { sealedPieces, withSealedFile } from "./state-file.js";

/**
 * Progress of a run. Batches, dropout and learning rates are functions of the options and of these
 * counts.
 */
export interface Progress {
  /** Optimiser steps done. */
  step: number;
  /** Micro-batches consumed, through all epochs. */
  position: number;
  /**
   * Best validation so far: lowest CER, then lowest loss. Where nothing is decoded, CER counts as
   * 0.
   */
  best?: { readonly step: number; readonly cer: number; readonly loss: number } | undefined;
  /** Gradient norms of the latest steps, for the alarm. */
  norms: readonly number[];
  /** MetricsFile.digest up to the step; absent in states of earlier versions. */
  metrics?: string;
}

/** Options and data, which must be equal for a run to go on. */
export type Identity = Readonly<Record<string, string | number | boolean>>;

/**
 * Format 1 has another digest of the model in its identity: its parameters can be used, its run
 * cannot go on.
 */
const format = "3";
const unsealed = ["1", "2"];
const readable: readonly (string | undefined)[] = [...unsealed, format];

/**
 * Writes parameters, moments and progress, streamed from the GPU: beside `path`, flushed, then
 * renamed, so that a kill at any moment leaves the old state or the new one. The file ends with a
 * SHA-256 of all its bytes.
 * @param options  moments false: the parameters alone, from which no run can go on; keep: new name
 *                 of the state that `path` replaces
 */
export async function saveState(
  gpu: Gpu,
  path: string,
  entries: readonly OptimiserEntry[],
  progress: Progress,
  identity: Identity,
  { moments = true, keep }: { readonly moments?: boolean; readonly keep?: string } = {},
): Promise<void> {
  const tensors = entries.flatMap((entry) =>
    parts(entry, moments).map(([prefix, tensor]): WriteTensor => {
      const data = async (): Promise<Uint8Array> => {
        const [values] = await gpu.step(() => [tensor]);
        return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      };
      return { name: `${prefix}.${entry.name}`, dtype: "F32", shape: tensor.shape, data };
    }),
  );
  const metadata = new Map([
    ["format", format],
    ["progress", JSON.stringify(progress)],
    ["identity", JSON.stringify(identity)],
  ]);
  await writeFileAtomic(path, sealedPieces(tensors, metadata), { keep });
}

/**
 * Puts a saved state into parameters and moments; nothing is put there before the whole file is
 * checked.
 * @throws DamagedStateError  it is missing, or not as it was written
 * @throws TrainFileError     it is of another run
 */
export async function loadState(
  gpu: Gpu,
  path: string,
  entries: readonly OptimiserEntry[],
  identity: Identity,
): Promise<Progress> {
  return withSealedFile(path, unsealed, async (file) => {
    if (file.metadata.get("format") === "1") {
      const advice = "it was saved by an earlier version: begin a new run in another --out";
      throw new TrainFileError({ file: path, field: "format", expected: show(format), got: `"1"`, advice });
    }
    const progress = readProgress(path, file);
    checkIdentity(path, file, identity);
    for (const entry of entries) {
      for (const [prefix, tensor] of parts(entry)) {
        gpu.write(tensor, await stored(path, file, `${prefix}.${entry.name}`, tensor));
      }
    }
    return progress;
  });
}

/**
 * Options that a run goes on with: where no warm-up is asked for and the cross-entropy has begun,
 * the run's own.
 * @param path  its saved state; one that cannot be read changes nothing, and is refused where it is
 *              loaded
 */
export async function continuedOptions<T extends { readonly warmup?: number | undefined }>(
  asked: T,
  path: string,
): Promise<T> {
  if (asked.warmup !== undefined) return asked;
  const saved = await readValues(path).catch(() => undefined);
  const { warmup, align } = saved?.identity ?? {};
  const begun = saved && typeof align === "number" && saved.progress.step > align;
  return begun && typeof warmup === "number" ? { ...asked, warmup } : asked;
}

/** The part of a saved state that a checkpoint needs. */
export interface SavedValues {
  readonly progress: Progress;
  readonly identity: Readonly<Record<string, unknown>>;
  /** Trained parameters by name, little-endian f32. */
  readonly values: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Uint8Array }>;
}

/**
 * The trained parameters of a saved state.
 * @throws DamagedStateError  it is missing, or not as it was written
 * @throws TrainFileError     it is none
 */
export async function readValues(path: string): Promise<SavedValues> {
  return withSealedFile(path, unsealed, async (file) => {
    const progress = readProgress(path, file);
    const identity = parseObject(path, "identity", file.metadata.get("identity"));
    const values = new Map<string, { shape: readonly number[]; values: Uint8Array }>();
    for (const [name, { shape }] of file.tensors) {
      if (!name.startsWith("value.")) continue;
      values.set(name.slice("value.".length), { shape, values: await readTensor(file, name) });
    }
    return { progress, identity, values };
  });
}

function parts({ value, m, v }: OptimiserEntry, moments = true): [string, Tensor][] {
  const all: [string, Tensor][] = [
    ["value", value],
    ["m", m],
    ["v", v],
  ];
  return moments ? all : all.slice(0, 1);
}

const another = "name another --out, or give the options that the run was started with";

const renamed: Readonly<Record<string, string>> = { alignRate: "--align-lr", learningRate: "--lr" };
const noOptions = ["beta1", "beta2", "eps", "encoder", "lora", "parameters"];

/**
 * The option of `train` that a part of the identity is given by; where there is none, the part's
 * own name.
 */
function optionOf(key: string): string {
  if (noOptions.includes(key)) return key;
  return renamed[key] ?? `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function checkIdentity(path: string, { metadata }: SafetensorsFile, identity: Identity): void {
  const found = parseObject(path, "identity", metadata.get("identity"));
  for (const key of new Set([...Object.keys(identity), ...Object.keys(found)])) {
    if (found[key] === identity[key]) continue;
    const [before, now] = [found[key], identity[key]];
    const isSteps = key === "steps" && typeof before === "number" && typeof now === "number";
    if (isSteps && now > before) continue; // the run goes on past its steps
    const [expected, got] = [show(found[key]), show(identity[key])];
    throw new TrainFileError({
      file: path,
      field: optionOf(key),
      expected: `${expected}${isSteps ? " or more" : ""} as in the run`,
      got,
      advice: another,
    });
  }
}

function readProgress(path: string, { metadata }: SafetensorsFile): Progress {
  if (!readable.includes(metadata.get("format"))) {
    const got = show(metadata.get("format"));
    throw new TrainFileError({ file: path, field: "format", expected: show(format), got });
  }
  const progress = parseObject(path, "progress", metadata.get("progress"));
  const { step, position, norms } = progress;
  if (Number.isInteger(step) && Number.isInteger(position) && Array.isArray(norms))
    return progress as unknown as Progress;
  const expected = "step, position and norms";
  throw new TrainFileError({
    file: path,
    field: "progress",
    expected,
    got: Object.keys(progress).join(", "),
  });
}

function parseObject(path: string, field: string, text: string | undefined): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    value = undefined;
  }
  if (isObject(value)) return { ...value };
  throw new TrainFileError({ file: path, field, expected: "a JSON object", got: show(text) });
}

async function stored(
  path: string,
  file: SafetensorsFile,
  name: string,
  tensor: Tensor,
): Promise<Uint8Array<ArrayBuffer>> {
  const found = file.tensors.get(name);
  if (found?.dtype === "F32" && show(found.shape) === show(tensor.shape))
    return (await readTensor(file, name)) as Uint8Array<ArrayBuffer>;
  const expected = `F32 ${show(tensor.shape)}`;
  const got = found ? `${found.dtype} ${show(found.shape)}` : "none";
  throw new TrainFileError({ file: path, field: `tensor ${name}`, expected, got, advice: another });
}
