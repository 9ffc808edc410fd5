import { show } from "../../json.js";
import { unwrapped } from "../../config/wrappers.js";
import type { StoredTensor } from "../../formats/container.js";
import { isFloatDtype, toFloat32 } from "../../formats/dtypes.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";

/** One float tensor of a LoRA's file. */
export interface LoraTensor {
  /** Name in the file. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Its values, read anew each time. */
  values(): Promise<Float32Array>;
}

/** A low-rank addition to one linear layer. */
export interface Addition {
  /** The layer's name in the file, without what the writer puts before it. */
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

/** An open LoRA, whatever model it is for. */
export interface Lora {
  /** What error messages call it. */
  readonly name: string;
  readonly additions: readonly Addition[];
  /** Tensors that take the place of the model's, by their names in the file, without what the writer puts before them. */
  readonly replaced: ReadonlyMap<string, LoraTensor>;
  /** Type of the changed tensors. Absent: that of the model's own. */
  readonly dtype?: "F32" | "BF16";
  /** Of the weights that the additions were trained on, see baseSha256. */
  readonly baseSha256?: string;
  close(): Promise<void>;
}

/** Reads the bytes of a stored tensor. */
export type ReadStored = (tensor: StoredTensor) => Promise<Uint8Array>;

/** Names of a LoRA's factors: peft's, with or without the adapter's own name in them, and those of loralib, which FunASR has. */
const FACTOR = /^(.+)\.lora_(A|B|magnitude_vector)(?:\.[^.]+)?(?:\.weight)?$/;
const ADAPTER_NAMED = /\.modules_to_save(\.[^.]+)?\./;

/** Whether a tensor of this name is part of a LoRA. */
export function isLoraName(name: string): boolean {
  return /(^|\.)lora_/.test(name);
}

/** A layer's or a tensor's name without what peft and other wrappers put into it. */
export function plainModule(name: string): string {
  return unwrapped(`${name}.`).slice(0, -1).replace(ADAPTER_NAMED, "."); // the last part may be a wrapper's too
}

/**
 * Sorts a file's tensors into low-rank additions and replaced tensors.
 * @param scaleOf  scale of an addition, by its layer and rank
 * @throws CheckpointError  a factor without the other, shapes that are no factors, a kind of LoRA that is not implemented, no addition
 */
export function collectLora(
  file: string,
  tensors: Iterable<StoredTensor>,
  read: ReadStored,
  scaleOf: (module: string, rank: number) => number,
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
    throw new CheckpointError({
      file,
      field: "tensors",
      expected: "a LoRA's lora_A and lora_B",
      got: "none",
    });
  const additions = [...parts].map(([module, found]) => addition(file, module, found, scaleOf));
  return { additions, replaced };
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
  scaleOf: (module: string, rank: number) => number,
): Addition {
  const [a, b, magnitude] = ["A", "B", "magnitude_vector"].map((part) => parts.get(part));
  if (!a || !b) {
    const expected = "both lora_A and lora_B";
    throw new CheckpointError({ file, field: show(module), expected, got: [...parts.keys()].join() });
  }
  const rank = a.shape[0];
  if (a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank || !(rank > 0)) {
    const expected = "lora_A of [rank, inputs] and lora_B of [outputs, rank]";
    const got = `${show(a.shape)} and ${show(b.shape)}`;
    throw new CheckpointError({ file, field: show(module), expected, got });
  }
  if (magnitude && magnitude.shape.join() !== `${b.shape[0]}`)
    throw refuse(file, magnitude.name, `[${b.shape[0]}]`, show(magnitude.shape));
  return { module, a, b, ...(magnitude ? { magnitude } : {}), rank, scale: scaleOf(module, rank) };
}

function refuse(file: string, name: string, expected: string, got: string): CheckpointError {
  return new CheckpointError({ file, field: tensorField(name), expected, got });
}
