import { refuseLfsPointer } from "../../checkpoint/foreign.js";
import {
  type ByteSource,
  type ModelFiles,
  checkPlainName,
  checkRange,
  missingFile,
  readUtf8,
} from "../../checkpoint/source.js";
import type { DirectoryHandle } from "../platform.js";

/** A source over a Blob or File, of which each read takes its bytes alone into memory. */
export function blobSource(name: string, blob: Blob): ByteSource {
  const source: ByteSource = {
    name,
    size: blob.size,
    read: async (offset, length) => {
      checkRange(source, offset, length);
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    },
    close: () => Promise.resolve(),
  };
  return source;
}

/** Opens one file. */
export type Opener = (name: string) => Promise<ByteSource>;

/** A model directory whose files are opened by name. A file of a directory in it is DIRECTORY/FILE. */
export function openerFiles(name: string, files: ReadonlyMap<string, Opener>): ModelFiles {
  const open = async (file: string): Promise<ByteSource> => {
    const opener = files.get(file);
    if (!opener) throw missingFile(name, file);
    return refuseLfsPointer(await opener(`${name}/${file}`));
  };
  return {
    name,
    list: () => Promise.resolve([...new Set([...files.keys()].map((file) => file.split("/")[0]))].sort()),
    has: (file) => Promise.resolve(files.has(file)),
    open,
    readText: async (file, maxBytes) => readUtf8(await open(file), maxBytes),
    directory(inner) {
      checkPlainName(name, inner);
      const below = [...files].filter(([file]) => file.startsWith(`${inner}/`));
      const named = below.map(([file, opener]) => [file.slice(inner.length + 1), opener] as const);
      return openerFiles(`${name}/${inner}`, new Map(named));
    },
  };
}

/** Files that a user picked; of a picked folder the folder's name is left out. */
export function pickedFiles(picked: Iterable<File>): ModelFiles {
  const files = Array.from(picked);
  const paths = files.map((file) => {
    const { webkitRelativePath: path = "" } = file as { readonly webkitRelativePath?: string };
    return path === "" ? file.name : path.slice(path.indexOf("/") + 1);
  });
  const openers = files.map((file, i): [string, Opener] => [
    paths[i],
    (name) => Promise.resolve(blobSource(name, file)),
  ]);
  return openerFiles("the chosen files", new Map(openers));
}

const mostFiles = 1000; // of a picked folder: a wrong one may have any number
const deepest = 2; // FunASR's checkpoints have a directory with the LLM's files

/** A folder that a user picked. */
export async function directoryFiles(directory: DirectoryHandle): Promise<ModelFiles> {
  const files = new Map<string, Opener>();
  const walk = async (folder: DirectoryHandle, path: string, depth: number): Promise<void> => {
    for await (const [name, handle] of folder.entries()) {
      if (files.size >= mostFiles) return;
      if (handle.kind === "directory") {
        if (depth < deepest) await walk(handle, `${path}${name}/`, depth + 1);
      } else files.set(`${path}${name}`, async (label) => blobSource(label, await handle.getFile()));
    }
  };
  await walk(directory, "", 1);
  return openerFiles(directory.name, files);
}
