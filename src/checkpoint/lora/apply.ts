import { show } from "../../json.js";
import type { ModelParts } from "../../config/model-config.js";
import { elementCount } from "../../shape.js";
import type { Checkpoint, TensorEntry } from "../checkpoint.js";
import { isGgmlType } from "../../formats/container.js";
import { DTYPE_BITS, type FloatDtype, fromFloat32, isFloatDtype } from "../../formats/dtypes.js";
import { type CheckpointError, checkpointError, tensorField } from "../../formats/errors.js";
import { storedToFloat32 } from "../../formats/ggml-blocks.js";
import { type ModelFiles, checkTensorRange, closeOnError } from "../source.js";
import { type LowRankValues, mergedRows } from "./merge.js";
import { baseSha256 } from "./base-hash.js";
import { canonicalTensors } from "./names.js";
import { openLora } from "./open.js";
import type { Addition, Lora, LoraTensor } from "./tensors.js";

/** The change of one tensor of the model. */
interface Change {
  /** The model's tensor. */
  readonly base: TensorEntry;
  readonly dtype: FloatDtype;
  /** Rows `first` to `first` + `count` of the changed tensor. A vector is one row. */
  readonly rows: (first: number, count: number) => Promise<Float32Array>;
}

/** Tensors whose values are cached: reads of one tensor follow one another. */
const CACHED = 4;

/**
 * The checkpoint with a LoRA merged into its weights as they are read: w + scale · b · a, rounded
 * to the stored type (GGUF blocks: f32). `convert` and `train --merge` write the same bits. Closing
 * it closes both.
 * @throws CheckpointError  the LoRA is for another model: a layer is missing, a shape differs, or
 *   the weights are others
 */
export async function applyLora<Config extends ModelParts>(
  checkpoint: Checkpoint<Config>,
  lora: Lora,
): Promise<Checkpoint<Config>> {
  const changes = new Map<string, Change>();
  for (const addition of lora.additions)
    for (const [base, part, parts] of find(checkpoint, lora, `${addition.module}.weight`))
      add(changes, lora, mergedChange(checkpoint, lora, base, { addition, part, parts }));
  await checkBase(
    checkpoint,
    lora,
    [...changes.values()].map(({ base }) => base),
  );
  for (const [name, tensor] of lora.replaced)
    for (const [base, part, parts] of find(checkpoint, lora, name))
      add(changes, lora, replacedChange(lora, base, { tensor, part, parts }));
  return overlay(checkpoint, lora, changes);
}

/** The checkpoint with LoRAs merged in this order. It is closed if one fails. */
export async function applyLoras<Config extends ModelParts>(
  checkpoint: Checkpoint<Config>,
  directories: readonly ModelFiles[],
): Promise<Checkpoint<Config>> {
  let merged = checkpoint;
  for (const directory of directories) {
    const base = merged;
    merged = await closeOnError(base, async () => {
      const lora = await openLora(directory);
      return closeOnError(lora, () => applyLora(base, lora));
    });
  }
  return merged;
}

function overlay<Config extends ModelParts>(
  checkpoint: Checkpoint<Config>,
  lora: Lora,
  changes: ReadonlyMap<string, Change>,
): Checkpoint<Config> {
  const tensors = new Map(checkpoint.tensors);
  for (const [name, { base, dtype }] of changes) {
    const byteLength = (elementCount(base.shape) * DTYPE_BITS[dtype]) / 8;
    tensors.set(name, { ...base, dtype, byteLength, offset: 0 });
  }
  const sameEncoder = ![...changes.keys()].some((name) => name.startsWith("model.audio_tower."));
  const note = `${lora.name}: a LoRA on ${lora.additions.length} layers is merged into the weights`;
  const replaced = lora.replaced.size > 0 ? `, and ${lora.replaced.size} tensors are replaced` : "";
  return {
    ...checkpoint,
    ...(sameEncoder ? {} : { config: { ...checkpoint.config, encoderSha256: undefined } }), // the hash changed
    tensors,
    notes: [...checkpoint.notes, note + replaced],
    totalBytes: [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    read: (entry, byteOffset, byteLength, into) => {
      const change = changes.get(entry.name);
      return change
        ? readChanged(lora, tensors.get(entry.name)!, change, { byteOffset, byteLength })
        : checkpoint.read(entry, byteOffset, byteLength, into);
    },
    close: async () => {
      await checkpoint.close();
      await lora.close();
    },
  };
}

async function readChanged(
  lora: Lora,
  entry: TensorEntry,
  { dtype, rows }: Change,
  { byteOffset, byteLength }: { byteOffset: number; byteLength: number },
): Promise<Uint8Array> {
  checkTensorRange(lora.name, entry, byteOffset, byteLength);
  const rowBytes = entry.byteLength / rowsOf(entry.shape);
  const first = Math.floor(byteOffset / rowBytes);
  const count = Math.ceil((byteOffset + byteLength) / rowBytes) - first;
  const bytes = fromFloat32(await rows(first, count), dtype);
  const skipped = byteOffset - first * rowBytes;
  return bytes.subarray(skipped, skipped + byteLength);
}

/** Rows of a matrix; 1 for other tensors. */
function rowsOf(shape: readonly number[]): number {
  return shape.length === 2 ? shape[0] : 1;
}

/** The stored type, or f32 for blocks. */
function changedDtype(lora: Lora, { dtype, name }: TensorEntry): FloatDtype {
  const stored = isGgmlType(dtype) ? "F32" : dtype;
  if (!isFloatDtype(stored)) throw other(lora, tensorField(name), "a tensor of floats in the model", stored);
  return lora.dtype ?? stored;
}

/** One of `parts` equal parts of the file's tensor by rows, such as q of q, k and v. */
interface Part {
  readonly part: number;
  readonly parts: number;
}

function mergedChange(
  checkpoint: Pick<Checkpoint, "read">,
  lora: Lora,
  base: TensorEntry,
  { addition, part, parts }: Part & { readonly addition: Addition },
): Change {
  const { a, b, magnitude, rank, scale, module } = addition;
  const [rows, columns] = base.shape;
  if (base.shape.length !== 2 || a.shape[1] !== columns || b.shape[0] !== rows * parts) {
    const expected = `lora_A of [${rank}, ${columns ?? 1}] and lora_B of [${rows * parts}, ${rank}], for a weight of ${show(base.shape)}`;
    throw other(lora, show(module), expected, `${show(a.shape)} and ${show(b.shape)}`);
  }
  const values = cached(async (): Promise<LowRankValues> => {
    const [av, bv, lengths] = await Promise.all([a.values(), b.values(), magnitude?.values()]);
    return {
      a: av,
      b: bv.subarray(part * rows * rank, (part + 1) * rows * rank),
      rank,
      scale,
      ...(lengths ? { magnitude: lengths.subarray(part * rows, (part + 1) * rows) } : {}),
    };
  });
  return {
    base,
    dtype: changedDtype(lora, base),
    async rows(first, count) {
      const stride = base.byteLength / rows;
      const bytes = await checkpoint.read(base, first * stride, count * stride);
      return mergedRows(storedToFloat32(bytes, base.dtype, base.file), first, await values());
    },
  };
}

function replacedChange(
  lora: Lora,
  base: TensorEntry,
  { tensor, part, parts }: Part & { readonly tensor: LoraTensor },
): Change {
  const [rows, ...rest] = base.shape;
  const expected = base.shape.length === 0 ? [] : [rows * parts, ...rest];
  if (tensor.shape.join() !== expected.join())
    throw other(lora, tensorField(tensor.name), show(expected), show(tensor.shape));
  const count = elementCount(base.shape);
  const row = count / rowsOf(base.shape);
  const values = cached(() => tensor.values());
  return {
    base,
    dtype: changedDtype(lora, base),
    async rows(first, number) {
      return (await values()).subarray(part * count + first * row, part * count + (first + number) * row);
    },
  };
}

const evictions: (() => void)[] = [];

/** Reads once, and keeps the result until CACHED others have been read. */
function cached<T>(read: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    if (result) return result;
    evictions.push(() => void (result = undefined));
    if (evictions.length > CACHED) evictions.shift()!();
    return (result = read());
  };
}

function add(changes: Map<string, Change>, lora: Lora, change: Change): void {
  const { name } = change.base;
  if (changes.has(name)) throw other(lora, tensorField(name), "one change of it", "two");
  changes.set(name, change);
}

/** The model's tensors for a name of the file. */
function find<Config extends ModelParts>(
  { tensors, config, name: model }: Checkpoint<Config>,
  lora: Lora,
  name: string,
): [base: TensorEntry, part: number, parts: number][] {
  const found = canonicalTensors(name, tensors, config);
  if (found) return found.map((canonical, i) => [tensors.get(canonical)!, i, found.length]);
  const tied = /(^|\.)lm_head\.weight$/.test(name)
    ? " with a head of its own (this one's is the embedding)"
    : "";
  throw other(lora, show(name), `a tensor of ${model}${tied}`, "none of that name");
}

/** @throws CheckpointError  the LoRA was trained on other weights */
async function checkBase(
  checkpoint: Pick<Checkpoint, "read" | "name">,
  lora: Lora,
  bases: readonly TensorEntry[],
): Promise<void> {
  if (lora.baseSha256 === undefined || bases.length === 0) return;
  const got = await baseSha256(checkpoint, bases);
  const [types, hash] = lora.baseSha256.split(" ");
  const [modelTypes, modelHash] = got?.split(" ") ?? [];
  if (types !== modelTypes || hash === modelHash) return; // other types: the model may be the same
  const expected = `the weights that it was trained on, ${hash.slice(0, 12)}`;
  throw other(lora, "base_sha256", expected, modelHash.slice(0, 12));
}

function other(lora: Lora, field: string, expected: string, got: string): CheckpointError {
  const advice = "was it trained on another model?";
  return checkpointError(lora.name, field, expected, got, advice);
}
