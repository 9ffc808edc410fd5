import { show } from "../../json.js";
import type { ConfigReader } from "../../config/reader.js";
import { unwrapped } from "../../config/wrappers.js";
import type { StoredTensor } from "../../formats/container.js";
import { isFloatDtype, toFloat32 } from "../../formats/dtypes.js";
import { type CheckpointError, checkpointError, tensorField } from "../../formats/errors.js";

import type { TensorInfo } from "../safetensors/safetensors.js";
import { type ByteSource, readRange } from "../source.js";

/** One float tensor of a LoRA's file. */
export interface LoraTensor {
  /** Name in the file. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Reads its values. */
  values(): Promise<Float32Array>;
}

/** A low-rank addition to one linear layer. */
export interface Addition {
  /** The layer's name in the file, without the writer's prefixes. */
  readonly module: string;
  /** [rank, columns] */
  readonly a: LoraTensor;
  /** [rows, rank] */
  readonly b: LoraTensor;
  /** DoRA: [rows] */
  readonly magnitude?: LoraTensor;
  readonly rank: number;
  readonly scale: number;
}

/** An open LoRA for any model. */
export interface Lora {
  /** Its name in error messages. */
  readonly name: string;
  readonly additions: readonly Addition[];
  /** Tensors that replace the model's, by their names in the file without the writer's prefixes. */
  readonly replaced: ReadonlyMap<string, LoraTensor>;
  /** Type of the changed tensors. Absent: as in the model. */
  readonly dtype?: "F32" | "BF16";
  /** Identifies the weights that the additions were trained on: see baseSha256. */
  readonly baseSha256?: string;
  close(): Promise<void>;
}

/** Reads the bytes of a stored tensor. */
type ReadStored = (tensor: StoredTensor) => Promise<Uint8Array>;

/** The scale of an addition, by its layer and rank. */
export type ScaleOf = (module: string, rank: number) => number;

/** Names of a LoRA's factors in peft, with or without the adapter's name, and in loralib. */
const FACTOR = /^(.+)\.lora_(A|B|magnitude_vector)(?:\.[^.]+)?(?:\.weight)?$/;
const ADAPTER_NAMED = /\.modules_to_save(\.[^.]+)?\./;

/** True for the name of a LoRA's tensor. */
export function isLoraName(name: string): boolean {
  return /(^|\.)lora_/.test(name);
}

/** The name of a layer or tensor without the parts that wrappers add. */
export function plainModule(name: string): string {
  return unwrapped(`${name}.`).slice(0, -1).replace(ADAPTER_NAMED, "."); // the last part may be a wrapper's too
}

/**
 * Sorts a file's tensors into low-rank additions and replaced tensors.
 * @throws CheckpointError  a factor is missing, shapes do not match, the kind of LoRA is not
 *   implemented, or no addition
 */
export function collectLora(
  file: string,
  tensors: Iterable<StoredTensor>,
  read: ReadStored,
  scaleOf: ScaleOf,
): Pick<Lora, "additions" | "replaced"> {
  const parts = new Map<string, Map<string, LoraTensor>>();
  const replaced = new Map<string, LoraTensor>();
  for (const stored of tensors) {
    const tensor = floatTensor(file, stored, read);
    const [, module, part] = FACTOR.exec(stored.name) ?? [];
    const name = plainModule(module ?? stored.name);
    if (module === undefined) {
      if (isLoraName(stored.name))
        throw refuse(file, stored.name, "lora_A and lora_B", "another part of a LoRA");
      if (stored.name.includes(".original_module.")) continue;
      replaced.set(name, tensor);
      continue;
    }
    const found = parts.get(name) ?? new Map<string, LoraTensor>();
    if (found.has(part)) throw refuse(file, stored.name, `one lora_${part} of ${name}`, "a second one");
    parts.set(name, found.set(part, tensor));
  }
  if (parts.size === 0 && replaced.size === 0)
    throw checkpointError(file, "tensors", "a LoRA's lora_A and lora_B", "none");
  const additions = [...parts].map(([module, found]) => addition(file, module, found, scaleOf));
  return { additions, replaced };
}

/** As collectLora, from tensors of an open file. */
export function fileLora(
  source: ByteSource,
  file: string,
  infos: Iterable<TensorInfo>,
  scaleOf: ScaleOf,
): ReturnType<typeof collectLora> {
  const tensors = new Map([...infos].map((info) => [info.name, { ...info, file }]));
  const read: ReadStored = ({ name, byteLength }) => readRange(source, tensors.get(name)!, 0, byteLength);
  return collectLora(source.name, tensors.values(), read, scaleOf);
}

/** @throws ConfigError  the config's rank is not that of the factors */
export function checkRank(config: ConfigReader, stated: number, rank: number, layer: string): void {
  const advice = "do the two files belong together?";
  if (rank !== stated) throw config.refusal("r", `${rank}, the rank of ${layer}`, stated, advice);
}

function floatTensor(file: string, stored: StoredTensor, read: ReadStored): LoraTensor {
  const { name, dtype, shape } = stored;
  if (!isFloatDtype(dtype)) throw refuse(file, name, "F32, F16, BF16 or F64", dtype);
  return { name, shape, values: async () => toFloat32(await read(stored), dtype, file) };
}

function addition(
  file: string,
  module: string,
  parts: ReadonlyMap<string, LoraTensor>,
  scaleOf: ScaleOf,
): Addition {
  const [a, b, magnitude] = ["A", "B", "magnitude_vector"].map((part) => parts.get(part));
  if (!a || !b) {
    const expected = "both lora_A and lora_B";
    throw checkpointError(file, show(module), expected, [...parts.keys()].join());
  }
  const rank = a.shape[0];
  if (a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank || !(rank > 0)) {
    const expected = "lora_A of [rank, inputs] and lora_B of [outputs, rank]";
    const got = `${show(a.shape)} and ${show(b.shape)}`;
    throw checkpointError(file, show(module), expected, got);
  }
  if (magnitude && magnitude.shape.join() !== `${b.shape[0]}`)
    throw refuse(file, magnitude.name, `[${b.shape[0]}]`, show(magnitude.shape));
  return { module, a, b, ...(magnitude ? { magnitude } : {}), rank, scale: scaleOf(module, rank) };
}

function refuse(file: string, name: string, expected: string, got: string): CheckpointError {
  return checkpointError(file, tensorField(name), expected, got);
}
