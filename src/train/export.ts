import type { Checkpoint, TensorEntry } from "../checkpoint/checkpoint.js";
import { isGgmlType } from "../formats/container.js";
import { transformersFiles } from "../checkpoint/convert.js";
import { DTYPE_BITS, fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { mergedRows } from "../checkpoint/lora/merge.js";
import { type OutputFile, json } from "../checkpoint/output-files.js";
import { type WriteTensor, writeSafetensors } from "../checkpoint/safetensors/write.js";
import { storedToFloat32 } from "../formats/ggml-blocks.js";
import { elementCount } from "../shape.js";
import { funasrTemplate } from "../tokenizer/funasr-template.js";
import { TrainError } from "./errors.js";
import { paddedRank } from "./lora.js";

/** A trained parameter's values, little-endian f32. */
export interface TrainedValues {
  readonly shape: readonly number[];
  readonly values: Uint8Array;
}

/** How a LoRA was trained. */
export interface LoraShape {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targets: readonly string[];
}

export interface ExportOptions {
  /** Type of the trained tensors. Default: as the checkpoint stores them. */
  readonly dtype?: "F32" | "BF16" | undefined;
  /** Given where a LoRA was trained: it is merged into the weights. */
  readonly merge?: LoraShape | undefined;
  readonly onProgress?: (bytesWritten: number) => void;
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Canonical names of the weights that a LoRA was trained on. */
export function adaptedWeights(trained: Iterable<string>): string[] {
  const modules = [...trained].flatMap((name) => loraName.exec(name)?.[1] ?? []);
  return [...new Set(modules)].map((module) => `${module}.weight`);
}

type Trained = ReadonlyMap<string, TrainedValues>;
const loraName = /^(.*)\.lora_([AB])\.weight$/;

/**
 * The files of the complete checkpoint in the -hf layout: the tensors that were not trained keep
 * their bits, trained ones are rounded once. Weights are read while the files are written.
 * @throws TrainError  a trained parameter is none of the checkpoint's
 */
export async function trainedFiles(
  checkpoint: Checkpoint,
  trained: Trained,
  options: ExportOptions = {},
): Promise<OutputFile[]> {
  const { onProgress } = options;
  return transformersFiles(overlay(checkpoint, trained, options), { template: funasrTemplate, onProgress });
}

/** The checkpoint with the trained tensors in the place of its own. */
function overlay(checkpoint: Checkpoint, trained: Trained, { dtype, merge }: ExportOptions): Checkpoint {
  const replaced = new Map<string, () => Promise<Uint8Array>>();
  const tensors = new Map(checkpoint.tensors);
  const replace = (name: string, values: (entry: TensorEntry) => Promise<Float32Array>): void => {
    const entry = checkpoint.tensors.get(name);
    if (!entry)
      throw new TrainError(
        `${checkpoint.name}: expected a tensor ${name}, got none; was it trained on another model?`,
      );
    const to = dtype ?? (isGgmlType(entry.dtype) ? "F32" : entry.dtype);
    const byteLength = (elementCount(entry.shape) * DTYPE_BITS[to]) / 8;
    tensors.set(name, { ...entry, dtype: to, byteLength, offset: 0 });
    replaced.set(name, async () => fromFloat32(await values(entry), to as "F32"));
  };
  for (const [name, { shape, values }] of trained) {
    const projection = loraName.exec(name)?.[1];
    const stored = checkpoint.tensors.get(name)?.shape ?? shape;
    if (stored.join() !== shape.join()) {
      throw new TrainError(
        `${checkpoint.name}: expected ${name} to be [${shape.join(", ")}] as it was trained, got [${stored.join(", ")}]; was it trained on another model?`,
      );
    }
    if (projection === undefined) replace(name, () => Promise.resolve(toFloat32(values, "F32")));
    else if (merge && name.endsWith(".lora_A.weight"))
      replace(`${projection}.weight`, (entry) => mergeInto(checkpoint, entry, trained, merge));
  }
  let last: { readonly name: string; readonly bytes: Uint8Array } | undefined; // tensors are written one after another
  const totalBytes = [...tensors.values()].reduce((sum, t) => sum + t.byteLength, 0);
  const sameEncoder = ![...replaced.keys()].some((name) => name.startsWith("model.audio_tower."));
  return {
    ...checkpoint,
    ...(sameEncoder ? {} : { config: { ...checkpoint.config, encoderSha256: undefined } }), // it has another now
    tensors,
    totalBytes,
    async read(entry, byteOffset, byteLength) {
      const make = replaced.get(entry.name);
      if (!make) return checkpoint.read(entry, byteOffset, byteLength);
      if (last?.name !== entry.name) last = { name: entry.name, bytes: await make() };
      return last.bytes.subarray(byteOffset, byteOffset + byteLength);
    },
  };
}

async function mergeInto(
  checkpoint: Checkpoint,
  entry: TensorEntry,
  trained: Trained,
  { rank, alpha }: LoraShape,
): Promise<Float32Array> {
  const bytes = await checkpoint.read(entry, 0, entry.byteLength);
  const weight = storedToFloat32(bytes, entry.dtype, checkpoint.name);
  const padded = paddedRank(rank);
  const factor = (which: "A" | "B", shape: readonly number[]): Float32Array => {
    const name = entry.name.replace(/weight$/, `lora_${which}.weight`);
    const found = trained.get(name);
    if (found?.shape.join() === shape.join()) return unpadded(toFloat32(found.values, "F32"), which, rank);
    const got = found ? `[${found.shape.join(", ")}]` : "none";
    throw new TrainError(
      `${checkpoint.name}: expected ${name} of [${shape.join(", ")}], got ${got}; was it trained on another model?`,
    );
  };
  const [rows, columns] = entry.shape;
  const [a, b] = [factor("A", [padded, columns]), factor("B", [rows, padded])];
  return mergedRows(weight, 0, { a, b, rank, scale: alpha / rank });
}

/**
 * A trained factor without the zeros that fill its rank up: [padded, columns] → [rank, columns], or
 * [rows, padded] → [rows, rank].
 */
function unpadded(values: Float32Array, which: string, rank: number): Float32Array {
  const padded = paddedRank(rank);
  if (padded === rank) return values;
  if (which === "A") return values.subarray(0, (values.length / padded) * rank);
  const rows = values.length / padded;
  const factor = new Float32Array(rows * rank);
  for (let row = 0; row < rows; row++)
    factor.set(values.subarray(row * padded, row * padded + rank), row * rank);
  return factor;
}

/** Records of an adapter's files beside the tensors. */
export interface AdapterOptions {
  /** Name of the base model in the adapter's config. */
  readonly base: string;
  /** Of that model, see baseSha256. */
  readonly baseSha256?: string | undefined;
  /** Type of the changed tensors where the LoRA is merged. Default: as the model stores them. */
  readonly dtype?: ExportOptions["dtype"];
}

/**
 * Modules that are trained whole: their names in peft's modules_to_save, and the prefixes of their
 * tensors.
 */
const wholeModules = {
  multi_modal_projector: "model.multi_modal_projector.",
  audio_tower: "model.audio_tower.",
};

/**
 * The LoRA, with what else was trained beside it, as peft reads it: adapter_model.safetensors and
 * adapter_config.json.
 * @source peft LoraConfig, PeftModel.save_pretrained
 */
export function adapterFiles(
  trained: Trained,
  lora: LoraShape,
  { base, baseSha256, dtype }: AdapterOptions,
): OutputFile[] {
  const { rank } = lora;
  const tensors = [...trained].map(([name, { shape, values }]): WriteTensor => {
    const which = loraName.exec(name)?.[2];
    const data = which === undefined ? values : asBytes(unpadded(toFloat32(values, "F32"), which, rank));
    const whole = which === undefined ? shape : which === "A" ? [rank, shape[1]] : [shape[0], rank];
    return { name: `base_model.model.${name}`, dtype: "F32", shape: whole, data };
  });
  const saved = Object.entries(wholeModules)
    .filter(([, prefix]) => [...trained.keys()].some((name) => name.startsWith(prefix)))
    .map(([module]) => module);
  const metadata = new Map([
    ["format", "pt"],
    ...(baseSha256 === undefined ? [] : [["base_sha256", baseSha256] as const]),
    ...(dtype === undefined ? [] : [["merged_dtype", dtype] as const]),
  ]);
  const config = {
    peft_type: "LORA",
    base_model_name_or_path: base,
    r: lora.rank,
    lora_alpha: lora.alpha,
    lora_dropout: lora.dropout,
    target_modules: `model\\.language_model\\.layers\\.\\d+\\.(self_attn|mlp)\\.(${lora.targets.join("|")})`,
    modules_to_save: saved.length > 0 ? saved : null,
    bias: "none",
    inference_mode: true,
  };
  return [
    json("adapter_config.json", config),
    {
      name: "adapter_model.safetensors",
      weightBytes: tensors.reduce((sum, t) => sum + elementCount(t.shape) * 4, 0),
      pieces: () => writeSafetensors(tensors, metadata),
    },
  ];
}
