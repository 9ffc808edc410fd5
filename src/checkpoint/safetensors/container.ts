import type { Container, Layout, StoredTensor } from "../../formats/container.js";
import { unwrappedNames } from "../../config/wrappers.js";
import { refuseForeignWeights } from "../foreign.js";
import { openSafetensors, readRange } from "./safetensors.js";
import type { SafetensorsFile } from "./safetensors.js";
import { INDEX, SINGLE, checkShards, parseIndex } from "./shards.js";
import { missingFile } from "../source.js";
import type { ModelFiles } from "../source.js";

/** A weights file by its name in the directory. */
type OpenedFiles = ReadonlyMap<string, SafetensorsFile>;

/**
 * The safetensors weights of a directory: model.safetensors, or shards and their index.
 * @param layoutOf  tells the layout by the tensors' names
 * @throws CheckpointError  a missing or damaged file, an index that does not match its shards
 */
export async function openSafetensorsContainer(
  files: ModelFiles,
  layoutOf: (names: Iterable<string>) => Layout,
): Promise<Container> {
  const opened = await openWeights(files);
  const tensors = new Map<string, StoredTensor>();
  const names = unwrappedNames([...opened.values()].flatMap((file) => [...file.tensors.keys()]));
  const storedNames = new Map<string, string>();
  for (const [file, weights] of opened)
    for (const { name: stored, dtype, shape, byteLength } of weights.tensors.values()) {
      const name = names.get(stored)!;
      storedNames.set(name, stored);
      tensors.set(name, { name, file, dtype, shape, byteLength });
    }
  return {
    name: files.name,
    layout: layoutOf(tensors.keys()),
    tensors,
    metadata: new Map([...opened.values()].flatMap((f) => [...f.metadata])),
    read(tensor, byteOffset, byteLength, into) {
      const { source, tensors: infos } = opened.get(tensor.file)!;
      return readRange(source, infos.get(storedNames.get(tensor.name)!)!, byteOffset, byteLength, into);
    },
    close: () => closeAll(opened),
  };
}

async function openWeights(files: ModelFiles): Promise<OpenedFiles> {
  if (await files.has(SINGLE)) return openAll(files, [SINGLE]);
  if (!(await files.has(INDEX))) {
    refuseForeignWeights(files.name, await files.list());
    throw missingFile(files.name, `${SINGLE} or ${INDEX}`);
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
