import { parseModelConfig } from "../model/config.js";
import type { ModelConfig } from "../model/config.js";
import { elementCount } from "../shape.js";
import type { Dtype } from "./dtypes.js";
import { CheckpointError, tensorField } from "./errors.js";
import { HEAD, checkTensors } from "./expected-tensors.js";
import { parseJsonObject } from "./json.js";
import { canonicalNames } from "./key-maps.js";
import { openSafetensors, readRange } from "./safetensors.js";
import type { SafetensorsFile, TensorInfo } from "./safetensors.js";
import { INDEX, SINGLE, checkShards, parseIndex } from "./shards.js";
import { missingFile } from "./source.js";
import type { ModelFiles } from "./source.js";

const MAX_CONFIG_BYTES = 1_000_000;

/** One tensor of a checkpoint. */
export interface TensorEntry {
  /** Canonical name. */
  readonly name: string;
  /** Name in the file. */
  readonly sourceName: string;
  /** File that holds it. */
  readonly file: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** An open checkpoint: config and tensor table read, checked against each other; bytes are read when asked for. */
export interface Checkpoint {
  readonly name: string;
  readonly config: ModelConfig;
  /** By canonical name. Without a head that the config ties: see `ignored`. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Tensors in the files that the model does not use: a tied head stored as well. */
  readonly ignored: readonly TensorEntry[];
  /** `__metadata__` of the files together; of a key in several, the last file's. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Of `tensors`. */
  readonly totalBytes: number;
  /** Of `tensors`. */
  readonly parameterCount: number;
  /** Little-endian bytes [byteOffset, byteOffset + byteLength) of one tensor. @throws CheckpointError outside it */
  read(entry: TensorEntry, byteOffset: number, byteLength: number): Promise<Uint8Array>;
  /** Releases the files. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint in the transformers layout: config.json beside model.safetensors, or beside shards and their index.
 * @throws ConfigError      config.json (see parseModelConfig)
 * @throws CheckpointError  a missing or damaged file, an index that does not match its shards, tensors that do not match the config
 */
export async function openCheckpoint(files: ModelFiles): Promise<Checkpoint> {
  const text = await files.readText("config.json", MAX_CONFIG_BYTES);
  const path = `${files.name}/config.json`;
  const config = parseModelConfig(parseJsonObject(text, path, "content"), path);
  const opened = await openWeights(files);
  try {
    return assemble(files.name, config, opened);
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

/** A weights file by its name in the directory. */
type OpenedFiles = ReadonlyMap<string, SafetensorsFile>;

function assemble(name: string, config: ModelConfig, opened: OpenedFiles): Checkpoint {
  const places = new Map<string, { file: string; info: TensorInfo }>();
  for (const [file, { tensors }] of opened)
    for (const [key, info] of tensors) places.set(key, { file, info });
  const all = new Map<string, TensorEntry>();
  for (const [canonical, sourceName] of canonicalNames(places.keys(), config, name)) {
    const { file, info } = places.get(sourceName)!;
    const { dtype, shape, byteLength } = info;
    all.set(canonical, { name: canonical, sourceName, file, dtype, shape, byteLength });
  }
  checkTensors(config, all, name);
  const ignored = config.llm.tiedHead && all.has(HEAD) ? [all.get(HEAD)!] : [];
  for (const entry of ignored) all.delete(entry.name);
  const used = [...all.values()];
  return {
    name,
    config,
    tensors: all,
    ignored,
    metadata: new Map([...opened.values()].flatMap((f) => [...f.metadata])),
    totalBytes: used.reduce((sum, t) => sum + t.byteLength, 0),
    parameterCount: used.reduce((sum, t) => sum + elementCount(t.shape), 0),
    read: (entry, byteOffset, byteLength) => readEntry(name, opened, entry, byteOffset, byteLength),
    close: () => closeAll(opened),
  };
}

async function readEntry(
  name: string,
  opened: OpenedFiles,
  entry: TensorEntry,
  byteOffset: number,
  byteLength: number,
): Promise<Uint8Array> {
  const file = opened.get(entry.file);
  const info = file?.tensors.get(entry.sourceName);
  if (!file || !info) {
    const field = tensorField(entry.name);
    throw new CheckpointError({
      file: name,
      field,
      expected: "a tensor of this checkpoint",
      got: "another's",
    });
  }
  return readRange(file.source, info, byteOffset, byteLength);
}

async function openWeights(files: ModelFiles): Promise<OpenedFiles> {
  if (await files.has(SINGLE)) return openAll(files, [SINGLE]);
  if (!(await files.has(INDEX))) {
    const pt = (await files.list()).includes("model.pt");
    if (!pt) throw missingFile(files.name, `${SINGLE} or ${INDEX}`);
    const advice = "this is FunASR's container: convert it to the transformers layout first";
    throw new CheckpointError({
      file: files.name,
      field: SINGLE,
      expected: "safetensors weights",
      got: "model.pt",
      advice,
    });
  }
  const index = await parseIndex(files);
  const opened = await openAll(files, new Set(index.values()));
  try {
    checkShards(files.name, index, opened);
    return opened;
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

async function openAll(files: ModelFiles, names: Iterable<string>): Promise<OpenedFiles> {
  const opened = new Map<string, SafetensorsFile>();
  try {
    for (const name of names) {
      const source = await files.open(name);
      try {
        opened.set(name, await openSafetensors(source));
      } catch (error) {
        await source.close();
        throw error;
      }
    }
    return opened;
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

async function closeAll(opened: OpenedFiles): Promise<void> {
  for (const { source } of opened.values()) await source.close();
}
