import type { Container, Layout, StoredTensor } from "../../formats/container.js";
import { unwrappedNames } from "../../config/wrappers.js";
import { refuseForeignWeights } from "../foreign.js";
import { type SafetensorsFile, openSafetensors } from "./safetensors.js";
import { INDEX, SINGLE, checkShards, parseIndex } from "./shards.js";
import { type ModelFiles, closeAll, closeOnError, missingFile, openAll, readRange } from "../source.js";

/**
 * The safetensors weights of a directory: model.safetensors, or shards and their index.
 * @param layoutOf  finds the layout by the tensors' names
 * @throws CheckpointError  a file is missing or damaged, or the index does not match its shards
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
    close: () => closeAll(opened.values()),
  };
}

/** The weight files by their names in the directory. */
async function openWeights(files: ModelFiles): Promise<ReadonlyMap<string, SafetensorsFile>> {
  if (await files.has(SINGLE)) return openAll(files, [SINGLE], openSafetensors);
  if (!(await files.has(INDEX))) {
    refuseForeignWeights(files.name, await files.list());
    throw missingFile(files.name, `${SINGLE} or ${INDEX}`);
  }
  const index = await parseIndex(files);
  const opened = await openAll(files, new Set(index.values()), openSafetensors);
  return closeOnError({ close: () => closeAll(opened.values()) }, () => {
    checkShards(files.name, index, opened);
    return opened;
  });
}
