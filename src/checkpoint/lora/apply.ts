import { show } from "../../json.js";
import type { ModelParts } from "../../config/model-config.js";
import { elementCount } from "../../shape.js";
import type { Checkpoint, TensorEntry } from "../checkpoint.js";
import { isGgmlType } from "../../formats/container.js";
import { DTYPE_BITS, type FloatDtype, fromFloat32, isFloatDtype, toFloat32 } from "../../formats/dtypes.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { dequantizeBlocks } from "../../formats/ggml-blocks.js";
import type { ModelFiles } from "../source.js";
import { type LowRankValues, mergedRows } from "./merge.js";
import { baseSha256 } from "./base-hash.js";
import { canonicalTensors } from "./names.js";
import { openLora } from "./open.js";
import type { Addition, Lora, LoraTensor } from "./tensors.js";

/** What happens to one tensor of the model. */
interface Change {
  /** As the model stores it. */
  readonly base: TensorEntry;
  readonly dtype: FloatDtype;
  /** Rows `first` to `first` + `count` of the changed tensor. A vector is one row. */
  readonly rows: (first: number, count: number) => Promise<Float32Array>;
}

/** Tensors whose values are kept between two reads: reads of one tensor follow one another. */
const KEPT = 4;

/**
 * The checkpoint with a LoRA merged into its weights as they are read: w + scale · b · a, rounded to the type that the model stores (blocks of
 * GGUF: to f32). A checkpoint that `convert` or `train --merge` writes of it holds the same bits. Closing it closes both.
 * @throws CheckpointError  the LoRA is for another model: a layer is absent, a shape differs, or other weights than it was trained on
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

/** The checkpoint with the LoRAs of these directories merged one after another; it is closed where one cannot be. */
export async function applyLoras<Config extends ModelParts>(
  checkpoint: Checkpoint<Config>,
  directories: readonly ModelFiles[],
): Promise<Checkpoint<Config>> {
  let merged = checkpoint;
  for (const directory of directories) {
    const before = merged;
    const lora = await openLora(directory).catch((error: unknown) => closed(before, error));
    merged = await applyLora(before, lora).catch(async (error: unknown) => {
      await lora.close();
      return closed(before, error);
    });
  }
  return merged;
}

async function closed(checkpoint: Pick<Checkpoint, "close">, error: unknown): Promise<never> {
  await checkpoint.close();
  throw error;
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
  const what = `${lora.name}: a LoRA on ${lora.additions.length} layers is merged into the weights`;
  const others = lora.replaced.size > 0 ? `, and ${lora.replaced.size} tensors are replaced` : "";
  return {
    ...checkpoint,
    ...(sameEncoder ? {} : { config: { ...checkpoint.config, encoderSha256: undefined } }), // it has another now
    tensors,
    notes: [...checkpoint.notes, what + others],
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
  if (!(byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= entry.byteLength)) {
    const expected = `a range inside its ${entry.byteLength} bytes`;
    const got = `${byteLength} bytes at ${byteOffset}`;
    throw new CheckpointError({ file: lora.name, field: tensorField(entry.name), expected, got });
  }
  const rowBytes = entry.byteLength / rowsOf(entry.shape);
  const first = Math.floor(byteOffset / rowBytes);
  const count = Math.ceil((byteOffset + byteLength) / rowBytes) - first;
  const bytes = fromFloat32(await rows(first, count), dtype);
  const skipped = byteOffset - first * rowBytes;
  return bytes.subarray(skipped, skipped + byteLength);
}

/** Rows that a tensor is read in: those of a matrix; anything else is one. */
function rowsOf(shape: readonly number[]): number {
  return shape.length === 2 ? shape[0] : 1;
}

/** The stored type, or f32 for blocks. */
function changedDtype(lora: Lora, { dtype, name }: TensorEntry): FloatDtype {
  const stored = isGgmlType(dtype) ? "F32" : dtype;
  if (!isFloatDtype(stored)) throw other(lora, tensorField(name), "a tensor of floats in the model", stored);
  return lora.dtype ?? stored;
}

/** A tensor of the file for some equal part of the rows of what it is called: q, k and v in one. */
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
  const values = kept(async (): Promise<LowRankValues> => {
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
      const { dtype } = base;
      const weight = isGgmlType(dtype)
        ? dequantizeBlocks(bytes, dtype, base.file)
        : toFloat32(bytes, dtype, base.file);
      return mergedRows(weight, first, await values());
    },
  };
}

function replacedChange(
  lora: Lora,
  base: TensorEntry,
  { tensor, part, parts }: Part & { readonly tensor: LoraTensor },
): Change {
  const [rows, ...rest] = base.shape;
  const whole = base.shape.length === 0 ? [] : [rows * parts, ...rest];
  if (tensor.shape.join() !== whole.join())
    throw other(lora, tensorField(tensor.name), show(whole), show(tensor.shape));
  const count = elementCount(base.shape);
  const row = count / rowsOf(base.shape);
  const values = kept(() => tensor.values());
  return {
    base,
    dtype: changedDtype(lora, base),
    async rows(first, number) {
      return (await values()).subarray(part * count + first * row, part * count + (first + number) * row);
    },
  };
}

const keeping: { readonly drop: () => void }[] = [];

/** Reads once and keeps the result until others have been read. */
function kept<T>(read: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  const drop = (): void => void (found = undefined);
  return () => {
    if (found) return found;
    keeping.push({ drop });
    if (keeping.length > KEPT) keeping.shift()!.drop();
    return (found = read());
  };
}

function add(changes: Map<string, Change>, lora: Lora, change: Change): void {
  const { name } = change.base;
  if (changes.has(name)) throw other(lora, tensorField(name), "one change of it", "two");
  changes.set(name, change);
}

/** The model's tensors that a name of the file means. */
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

/** @throws CheckpointError  the weights are not those that the LoRA was trained on */
async function checkBase(
  checkpoint: Pick<Checkpoint, "read" | "name">,
  lora: Lora,
  bases: readonly TensorEntry[],
): Promise<void> {
  if (lora.baseSha256 === undefined || bases.length === 0) return;
  const got = await baseSha256(checkpoint, bases);
  const [types, hash] = lora.baseSha256.split(" ");
  const [ownTypes, ownHash] = got?.split(" ") ?? [];
  if (types !== ownTypes || hash === ownHash) return; // the same model in another type cannot be told from another model
  throw other(
    lora,
    "base_sha256",
    `the weights that it was trained on, ${hash.slice(0, 12)}`,
    ownHash.slice(0, 12),
  );
}

function other(lora: Lora, field: string, expected: string, got: string): CheckpointError {
  const advice = "was it trained on another model?";
  return new CheckpointError({ file: lora.name, field, expected, got, advice });
}
