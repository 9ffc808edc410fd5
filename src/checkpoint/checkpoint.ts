import { show } from "../json.js";
import { elementCount } from "../shape.js";
import type { ModelConfig, ModelParts } from "../config/model-config.js";
import type { Container, GgmlType, Layout, StoredTensor } from "../formats/container.js";
import type { Dtype } from "../formats/dtypes.js";
import { CheckpointError, tensorField } from "../formats/errors.js";
import { HEAD, checkTensors } from "../config/expected-tensors.js";
import { alternatives, canonicalNames } from "./layouts/key-maps.js";
import type { Assets, OpenedLayout } from "./layouts/layout.js";
import { applyLora, applyLoras } from "./lora/apply.js";
import { openLayout } from "./layouts/open.js";
import { decideHead } from "./tied-head.js";
import { type ModelFiles, expectModelFiles } from "./source.js";

/** One tensor of a checkpoint. */
export interface TensorEntry {
  /** Canonical name. */
  readonly name: string;
  /** Name in the file. */
  readonly sourceName: string;
  /** File that holds it. */
  readonly file: string;
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Of its first byte, from the start of the stored tensor: above 0 where that holds several, such as q, k and v fused. */
  readonly offset: number;
}

/** An open checkpoint: config and tensor table read, checked against each other; bytes are read when asked for. */
export interface Checkpoint<Config extends ModelParts = ModelConfig> {
  readonly name: string;
  readonly layout: Layout;
  readonly config: Config;
  /** Where the config was read, for errors. */
  readonly configFile: string;
  /** By canonical name. Without a head that is the embedding once more: see `ignored`. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Tensors in the files that the model does not use: a tied head stored as well. */
  readonly ignored: readonly TensorEntry[];
  /** The tensors of a CTC head, which timestamps need. Empty: this checkpoint has none. */
  readonly ctc: readonly StoredTensor[];
  /** What the files do not say and was taken for granted, one sentence each. */
  readonly notes: readonly string[];
  /** Where the files contradict each other: what was done, one sentence each, for who runs the model. */
  readonly warnings: readonly string[];
  /** Front-end, tokenizer, prompts. */
  readonly assets: Assets;
  /** `__metadata__` of the files together; of a key in several, the last file's. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Of `tensors`. */
  readonly totalBytes: number;
  /** Of `tensors`. */
  readonly parameterCount: number;
  /**
   * Little-endian bytes [byteOffset, byteOffset + byteLength) of one tensor.
   * @param into  as ByteSource.read
   * @throws CheckpointError outside it
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
 * Opens a checkpoint in any published layout, told by the files that the directory has.
 * @param loras  directories with a LoRA each, merged into the weights in this order as they are read
 * @throws ConfigError      a config that this engine cannot run (see parseModelConfig)
 * @throws CheckpointError  a missing or damaged file, weights in two forms, tensors that do not match the config
 */
export async function openCheckpoint(
  files: ModelFiles,
  loras: readonly ModelFiles[] = [],
): Promise<Checkpoint> {
  expectModelFiles("openCheckpoint", files);
  return applyLoras(await assemble(await openLayout(files)), loras);
}

/** Compares a layout's tensors with its config. @throws CheckpointError  they do not match; the files are closed */
export async function assemble<Config extends ModelParts>(
  opened: OpenedLayout<Config>,
): Promise<Checkpoint<Config>> {
  try {
    const checkpoint = await makeCheckpoint(opened);
    return opened.lora ? await applyLora(checkpoint, opened.lora) : checkpoint;
  } catch (error) {
    await opened.container.close();
    throw error;
  }
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
  const all = new Map<string, TensorEntry>();
  for (const [pattern, sourceName] of canonicalNames(names, stated, name, keyMaps))
    for (const entry of entries(pattern, container.tensors.get(sourceName)!, container)) {
      const other = all.get(entry.name);
      if (other) throw twice(name, entry, other);
      all.set(entry.name, entry);
    }
  const { config, warning } = await decideHead(container, stated, all);
  checkTensors(config, all, name);
  const ignored = config.llm.tiedHead && all.has(HEAD) ? [all.get(HEAD)!] : [];
  for (const entry of ignored) all.delete(entry.name);
  const used = [...all.values()];
  return {
    name,
    layout,
    config,
    metadata,
    ignored,
    configFile: rest.configFile,
    notes: rest.notes,
    assets: rest.assets,
    tensors: all,
    warnings: warning === undefined ? [] : [warning],
    ctc: stored.filter((t) => isCtc(t.name)),
    totalBytes: used.reduce((sum, t) => sum + t.byteLength, 0),
    parameterCount: used.reduce((sum, t) => sum + elementCount(t.shape), 0),
    read: (entry, byteOffset, byteLength, into) => readEntry(container, entry, byteOffset, byteLength, into),
    close: () => container.close(),
  };
}

/** The entries that one stored tensor stands for: one, or equal parts of its rows where the pattern has alternatives in braces. */
function entries(pattern: string, stored: StoredTensor, { name: file, layout }: Container): TensorEntry[] {
  const names = alternatives(pattern);
  const parts = names.length;
  const { dtype, byteLength } = stored;
  const [rows, ...rest] = layout === "transformers" ? stored.shape : tapsShape(pattern, stored.shape);
  if (parts > 1 && !(rows % parts === 0 && byteLength % parts === 0)) {
    const field = tensorField(stored.name);
    throw new CheckpointError({
      file,
      field,
      expected: `rows for ${parts} equal parts`,
      got: show(stored.shape),
    });
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

/** FSMN taps are [D, 1, kernel] in PyTorch; MLX writers move or drop the axis of 1, which leaves the bytes as they are. */
function tapsShape(pattern: string, shape: readonly number[]): readonly number[] {
  if (!pattern.endsWith(".fsmn.conv.weight")) return shape;
  const axes = shape.length === 3 && shape[1] !== 1 && shape[2] === 1 ? shape.slice(0, 2) : shape;
  return axes.length === 2 ? [axes[0], 1, axes[1]] : axes;
}

function twice(file: string, entry: TensorEntry, other: TensorEntry): CheckpointError {
  const got = `${show(other.sourceName)} and ${show(entry.sourceName)}`;
  return new CheckpointError({ file, field: show(entry.name), expected: "one tensor of that meaning", got });
}

async function readEntry(
  container: Container,
  entry: TensorEntry,
  byteOffset: number,
  byteLength: number,
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const field = tensorField(entry.name);
  const stored = container.tensors.get(entry.sourceName);
  if (stored?.file !== entry.file) {
    const expected = "a tensor of this checkpoint";
    throw new CheckpointError({ file: container.name, field, expected, got: "another's" });
  }
  if (!(byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= entry.byteLength)) {
    const expected = `a range inside its ${entry.byteLength} bytes`;
    const got = `${byteLength} bytes at ${byteOffset}`;
    throw new CheckpointError({ file: `${container.name}/${entry.file}`, field, expected, got });
  }
  return container.read(stored, entry.offset + byteOffset, byteLength, into);
}
