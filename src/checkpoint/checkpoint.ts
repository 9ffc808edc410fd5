import { show } from "../json.js";
import { elementCount } from "../shape.js";
import type { CtcSettings } from "../config/ctc-config.js";
import type { ModelConfig, ModelParts } from "../config/model-config.js";
import type { Container, GgmlType, Layout, StoredTensor } from "../formats/container.js";
import type { Dtype } from "../formats/dtypes.js";
import { checkpointError, tensorField } from "../formats/errors.js";
import { HEAD, checkTensors } from "../config/expected-tensors.js";
import { alternatives, canonicalNames, namedTwice } from "./layouts/key-maps.js";
import type { Assets, OpenedLayout } from "./layouts/layout.js";
import { applyLora, applyLoras } from "./lora/apply.js";
import { openLayout } from "./layouts/open.js";
import { decideHead } from "./tied-head.js";
import { type ModelFiles, checkTensorRange, closeOnError, expectModelFiles } from "./source.js";

/** One tensor of a checkpoint. */
export interface TensorEntry {
  /** Canonical name. */
  readonly name: string;
  /** Name in the file. */
  readonly sourceName: string;
  /** Its file. */
  readonly file: string;
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Bytes from the start of the stored tensor: above 0 in a fused one, such as q, k and v. */
  readonly offset: number;
}

/** An open checkpoint, whose config and tensors match. Bytes are read on demand. */
export interface Checkpoint<Config extends ModelParts = ModelConfig> {
  readonly name: string;
  readonly layout: Layout;
  readonly config: Config;
  /** The config's file, for errors. */
  readonly configFile: string;
  /** By canonical name. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Stored tensors that the model does not use: a stored head that equals the embedding. */
  readonly ignored: readonly TensorEntry[];
  /** The tensors of a CTC head, which times of words need: see openCtc. */
  readonly ctc: readonly StoredTensor[];
  /** What the config says of that head. */
  readonly ctcSettings?: CtcSettings;
  /** Defaults for settings that the files do not have, one sentence each. */
  readonly notes: readonly string[];
  /** Contradictions between the files and how they were resolved, one sentence each. */
  readonly warnings: readonly string[];
  /** Front-end, tokenizer, prompts. */
  readonly assets: Assets;
  /** `__metadata__` of all files; the last file has priority. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Of `tensors`. */
  readonly totalBytes: number;
  /** Of `tensors`. */
  readonly parameterCount: number;
  /**
   * Little-endian bytes [byteOffset, byteOffset + byteLength) of one tensor.
   * @param into  see ByteSource.read
   * @throws CheckpointError  the range is not inside the tensor
   */
  read(
    entry: TensorEntry,
    byteOffset: number,
    byteLength: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array>;
  /** Releases the files. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint in any published layout, which it recognises by file names.
 * @param loras  directories of LoRAs, merged into the weights in this order as they are read
 * @throws ConfigError      this engine cannot run the config (see parseModelConfig)
 * @throws CheckpointError  a file is missing or damaged, weights are in two forms, or tensors do
 *   not match the config
 */
export async function openCheckpoint(
  files: ModelFiles,
  loras: readonly ModelFiles[] = [],
): Promise<Checkpoint> {
  expectModelFiles("openCheckpoint", files);
  return applyLoras(await assemble(await openLayout(files)), loras);
}

/**
 * Compares a layout's tensors with its config.
 * @throws CheckpointError  they do not match; the files are then closed
 */
export async function assemble<Config extends ModelParts>(
  opened: OpenedLayout<Config>,
): Promise<Checkpoint<Config>> {
  return closeOnError(opened.container, async () => {
    const checkpoint = await makeCheckpoint(opened);
    return opened.lora ? applyLora(checkpoint, opened.lora) : checkpoint;
  });
}

async function makeCheckpoint<Config extends ModelParts>({
  container,
  config: stated,
  keyMaps,
  ...rest
}: OpenedLayout<Config>): Promise<Checkpoint<Config>> {
  const { name, layout, metadata } = container;
  const isCtc = (source: string): boolean => keyMaps.some((map) => map.ctc?.test(source));
  const stored = [...container.tensors.values()];
  const model = stored.filter((t) => !isCtc(t.name));
  const names = model.map((t) => t.name);
  const tensors = new Map<string, TensorEntry>();
  for (const [pattern, sourceName] of canonicalNames(names, stated, name, keyMaps))
    for (const entry of entries(pattern, container.tensors.get(sourceName)!, container)) {
      const other = tensors.get(entry.name);
      if (other) throw namedTwice(name, entry.name, other.sourceName, entry.sourceName);
      tensors.set(entry.name, entry);
    }
  const { config, warning } = await decideHead(container, stated, tensors);
  checkTensors(config, tensors, name);
  const ignored = config.llm.tiedHead && tensors.has(HEAD) ? [tensors.get(HEAD)!] : [];
  for (const entry of ignored) tensors.delete(entry.name);
  const used = [...tensors.values()];
  return {
    name,
    layout,
    config,
    metadata,
    ignored,
    configFile: rest.configFile,
    notes: rest.notes,
    assets: rest.assets,
    tensors,
    warnings: [...(rest.warnings ?? []), ...(warning === undefined ? [] : [warning])],
    ctc: stored.filter((t) => isCtc(t.name)),
    ...(rest.ctc && { ctcSettings: rest.ctc }),
    totalBytes: used.reduce((sum, t) => sum + t.byteLength, 0),
    parameterCount: used.reduce((sum, t) => sum + elementCount(t.shape), 0),
    read: (entry, byteOffset, byteLength, into) => readEntry(container, entry, byteOffset, byteLength, into),
    close: () => container.close(),
  };
}

/** The entries of a stored tensor: one, or equal parts of its rows for a fused tensor. */
function entries(pattern: string, stored: StoredTensor, { name: file, layout }: Container): TensorEntry[] {
  const names = alternatives(pattern);
  const parts = names.length;
  const { dtype, byteLength } = stored;
  const [rows, ...rest] = layout === "transformers" ? stored.shape : tapsShape(pattern, stored.shape);
  if (parts > 1 && !(rows % parts === 0 && byteLength % parts === 0)) {
    const field = tensorField(stored.name);
    throw checkpointError(file, field, `rows for ${parts} equal parts`, show(stored.shape));
  }
  return names.map((name, i) => ({
    name,
    sourceName: stored.name,
    file: stored.file,
    dtype,
    shape: rows === undefined ? [] : [rows / parts, ...rest],
    byteLength: byteLength / parts,
    offset: (byteLength / parts) * i,
  }));
}

/** FSMN taps are [D, 1, kernel] in PyTorch. MLX writers move or drop the axis of 1. */
function tapsShape(pattern: string, shape: readonly number[]): readonly number[] {
  if (!pattern.endsWith(".fsmn.conv.weight")) return shape;
  const axes = shape.length === 3 && shape[1] !== 1 && shape[2] === 1 ? shape.slice(0, 2) : shape;
  return axes.length === 2 ? [axes[0], 1, axes[1]] : axes;
}

async function readEntry(
  container: Container,
  entry: TensorEntry,
  byteOffset: number,
  byteLength: number,
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const stored = container.tensors.get(entry.sourceName);
  if (stored?.file !== entry.file)
    throw checkpointError(
      container.name,
      tensorField(entry.name),
      "a tensor of this checkpoint",
      "another's",
    );
  checkTensorRange(`${container.name}/${entry.file}`, entry, byteOffset, byteLength);
  return container.read(stored, entry.offset + byteOffset, byteLength, into);
}
