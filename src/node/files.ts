import { count } from "../report/text.js";
import { existsSync } from "node:fs";
import { link, lstat, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { errorCode } from "../errors.js";
import { kindOf } from "../file-kind.js";
import { CheckpointError } from "../formats/errors.js";
import { refuseLfsPointer } from "../checkpoint/foreign.js";
import { writeSafetensors } from "../checkpoint/safetensors/write.js";
import type { WriteTensor } from "../checkpoint/safetensors/write.js";
import { checkPlainName, checkRange, isPlainName, missingFile, readUtf8 } from "../checkpoint/source.js";
import type { ByteSource, ModelFiles } from "../checkpoint/source.js";
import { Checksums } from "./checksums.js";
import { inWork, removeLeftovers, unfinishedName } from "./unfinished.js";
import { WriteError, naming, writeError } from "./write-error.js";
import { makeDirectory } from "./make-directory.js";

/** Bytes asked of the system at once: Node refuses 2^31 and more. */
const PIECE = 2 ** 30;

/**
 * A model directory on disk. Nothing is touched until a file is asked for.
 * @param root  the directory that links may not leave, where that is not `path` itself
 * @throws CheckpointError (from its methods) for a missing directory or file, a name or a link that
 *         leaves the directory, or a file with another SHA-256 than the directory's list gives (see
 *         Checksums)
 */
export function modelDirectory(path: string, root = path, expected = "a model directory"): ModelFiles {
  const openUnchecked = async (file: string): Promise<ByteSource> => {
    checkPlainName(path, file);
    try {
      await checkInside(root, join(path, file));
      return await refuseLfsPointer(await openFile(join(path, file)));
    } catch (cause) {
      if (!isMissing(cause) && errorCode(cause) !== "ELOOP") throw cause;
      throw (await isThere(join(path, file)))
        ? deadLink(join(path, file), { cause })
        : missingFile(path, file, { cause });
    }
  };
  const checksums = new Checksums(path, openUnchecked);
  const openNamed = async (file: string): Promise<ByteSource> => {
    const source = await openUnchecked(file);
    try {
      await checksums.check(file, source);
      return source;
    } catch (error) {
      await source.close();
      throw error;
    }
  };
  return {
    name: path,
    list: () => listFiles(path, expected),
    has: (file) => (isPlainName(file) ? isThere(join(path, file)) : Promise.resolve(false)),
    open: openNamed,
    readText: async (file, maxBytes) => readUtf8(await openNamed(file), maxBytes),
    directory(name) {
      checkPlainName(path, name);
      return modelDirectory(join(path, name), root);
    },
  };
}

/**
 * @throws CheckpointError unless `path`, its links followed, lies inside `root`; or, where `root`
 *         is a snapshot of the hub's cache, among the blobs of the same model, to which every file
 *         of a snapshot is a link, or those that Python shares between models.
 */
async function checkInside(root: string, path: string): Promise<void> {
  const [from, to] = await Promise.all([realpath(root), realpath(path)]);
  if (isInside(from, to)) return;
  const [model, kind] = [dirname(dirname(from)), dirname(from)];
  if (kind === join(model, "snapshots") && basename(model).startsWith("models--")) {
    if (isInside(join(model, "blobs"), to)) return;
    const shared = join(dirname(model), "blobs"); // HF_HUB_CACHE/blobs/ab/HASH
    if (dirname(dirname(to)) === shared && /^[0-9a-f]{64}$/.test(basename(to))) return;
  }
  throw new CheckpointError({
    file: path,
    field: "link",
    expected: `a file inside ${root}`,
    got: `a link to ${to}`,
    advice: "copy the file there",
  });
}

function deadLink(file: string, options: ErrorOptions): CheckpointError {
  const [field, expected, got] = ["link", "a link to a file", "a link to none"];
  const advice = "copy the file there, or download it again";
  return new CheckpointError({ file, field, expected, got, advice }, options);
}

function isInside(directory: string, path: string): boolean {
  const way = relative(directory, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && way !== path;
}

/**
 * One file as random-access bytes; its handle stays open until close().
 * @throws CheckpointError if it is no regular file
 */
export async function openFile(path: string): Promise<ByteSource> {
  // stat first: opening a pipe would wait for its writer
  const found = await stat(path);
  if (!found.isFile())
    throw new CheckpointError({
      file: path,
      field: "type",
      expected: "a regular file",
      got: kindOf(found),
    });
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    return fileSource(path, size, handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export interface WriteOptions {
  /**
   * Ends the writing before its next piece, with the signal's reason; what was written is removed.
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes `pieces` beside `path` under a name of its own, flushes, then renames: a reader sees the
 * old file or the whole new one. On a failure the unfinished file is removed and the error thrown.
 * @param options  keep: new name of the file that `path` replaces, if there is one
 * @throws WriteError  the system refused to write, or `path` is a device or a pipe; the signal's
 *                     reason
 */
export async function writeFileAtomic(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: WriteOptions & { readonly keep?: string | undefined } = {},
): Promise<void> {
  await refuseSpecial(path);
  await removeLeftovers(path);
  await writeThenRename(path, pieces, options);
}

/** @throws WriteError  a device or a pipe, which a rename would replace */
async function refuseSpecial(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (!found || found.isFile() || found.isDirectory()) return;
  const [expected, got] = ["the name of a file", "a device or a pipe"];
  throw new WriteError({ file: path, field: "write", expected, got, advice: "name a file" });
}

/**
 * Gives the file at `path` the name `keep` too; instead of its own where the file system has no
 * hard links.
 */
async function keepAs(path: string, keep: string): Promise<void> {
  const unfinished = await unfinishedName(keep);
  try {
    const linked = await link(path, unfinished).then(
      () => true,
      () => false,
    );
    await rename(linked ? unfinished : path, keep);
  } catch (error) {
    if (!isMissing(error)) throw writeError(keep, error);
  }
}

/** @param options  name: what errors call the file; keep: as writeFileAtomic */
async function writeThenRename(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  {
    name = path,
    keep,
    signal,
  }: WriteOptions & { readonly name?: string; readonly keep?: string | undefined } = {},
): Promise<void> {
  signal?.throwIfAborted();
  const unfinished = await unfinishedName(path);
  const done = inWork(unfinished);
  try {
    const handle = await naming(name, () => open(unfinished, "wx"));
    try {
      for await (const piece of pieces) {
        signal?.throwIfAborted();
        await naming(name, () => writeAll(handle, piece));
      }
      signal?.throwIfAborted();
      await naming(name, () => handle.sync());
    } finally {
      await handle.close();
    }
    if (keep !== undefined) await keepAs(path, keep);
    await naming(name, () => rename(unfinished, path));
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined); // it may be that nothing can be removed there
    throw error;
  } finally {
    done();
  }
}

interface FileToWrite {
  readonly name: string;
  readonly pieces: () => AsyncIterable<Uint8Array>;
}
type FilesToWrite = Iterable<FileToWrite>;

/**
 * Writes a directory's files, DIRECTORY/FILE for those inside another, one after another beside
 * `path` under a name of its own, then renames it: nobody sees half a model. On a failure everything written is removed and the error thrown.
 * @throws CheckpointError  `path` is there and is no empty directory; the signal's reason
 */
export async function writeDirectoryAtomic(
  path: string,
  files: FilesToWrite | AsyncIterable<FileToWrite>,
  options: WriteOptions = {},
): Promise<void> {
  await refuseUsed(path);
  await writeBeside(path, files, (unfinished) => moveIntoPlace(unfinished, path), options); // over an empty directory, but not over one that was filled meanwhile
}

/** @throws CheckpointError  another process has filled the directory meanwhile */
async function moveIntoPlace(unfinished: string, path: string): Promise<void> {
  try {
    await rename(unfinished, path);
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errorCode(error) ?? "")) await refuseUsed(path);
    throw writeError(path, error);
  }
}

/**
 * `writeDirectoryAtomic` in the place of a directory that may be there: it stays as it is until the
 * new one is whole.
 */
export async function replaceDirectoryAtomic(path: string, files: FilesToWrite): Promise<void> {
  await writeBeside(path, files, async (unfinished) => {
    const old = await unfinishedName(path);
    const replaced = await rename(path, old).then(
      () => true,
      (error: unknown) => {
        if (isMissing(error)) return false;
        throw writeError(path, error);
      },
    );
    await naming(path, () => rename(unfinished, path));
    if (replaced) await rm(old, { recursive: true, force: true });
  });
}

/** Writes files into a directory beside `path`, which `place` puts there. */
async function writeBeside(
  path: string,
  files: FilesToWrite | AsyncIterable<FileToWrite>,
  place: (unfinished: string) => Promise<void>,
  { signal }: WriteOptions = {},
): Promise<void> {
  await removeLeftovers(path.replace(/(?<=.)[/\\]+$/, ""));
  const unfinished = await unfinishedName(path);
  const done = inWork(unfinished);
  try {
    await makeDirectory(unfinished, path);
    for await (const { name, pieces } of files) {
      const parts = name.split("/"); // of a directory inside, and the file
      for (const part of parts) checkPlainName(path, part);
      if (parts.length > 1) await makeDirectory(dirname(join(unfinished, name)), path);
      await writeThenRename(join(unfinished, name), pieces(), { name: join(path, name), signal });
    }
    await place(unfinished);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  } finally {
    done();
  }
}

async function refuseUsed(path: string): Promise<void> {
  const found = await readdir(path).catch((error: unknown) => {
    const code = errorCode(error);
    if (code === "ENOENT") return [];
    if (code === "ENOTDIR" && existsSync(path)) return undefined;
    throw writeError(path, error); // a file on the way to it, or no permission
  });
  if (found?.length === 0) return;
  throw new CheckpointError({
    file: path,
    field: "directory",
    expected: "a new or an empty directory",
    got: found ? `one that holds ${count(found.length)} ${found.length === 1 ? "file" : "files"}` : "a file",
    advice: "name another, or remove it first",
  });
}

/**
 * A safetensors file, streamed tensor by tensor and put in place at the end (see writeFileAtomic).
 */
export async function writeSafetensorsFile(
  path: string,
  tensors: readonly WriteTensor[],
  metadata?: ReadonlyMap<string, string>,
  options: WriteOptions = {},
): Promise<void> {
  await writeFileAtomic(path, writeSafetensors(tensors, metadata), options);
}

function fileSource(path: string, size: number, handle: FileHandle): ByteSource {
  const source: ByteSource = {
    name: path,
    size,
    async read(offset, length, into) {
      checkRange(source, offset, length);
      const bytes = into && into.length >= length ? into.subarray(0, length) : new Uint8Array(length);
      for (let done = 0; done < length;) {
        const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, PIECE), offset + done);
        if (bytesRead === 0) throw shrank(path, offset + done, size);
        done += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
  return source;
}

function shrank(path: string, end: number, size: number): CheckpointError {
  return new CheckpointError({
    file: path,
    field: "size",
    expected: `${size} bytes, as when it was opened`,
    got: `an end at ${end}`,
    advice: "the file changed while it was read",
  });
}

async function listFiles(path: string, expected: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    const refusal = {
      file: path,
      field: "directory",
      expected,
      got: "none",
      advice: "check the path",
    };
    throw new CheckpointError(refusal, { cause });
  }
}

/** Whether anything has the name. Opening it refuses what is no file. */
async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    done += (await handle.write(bytes, done, Math.min(bytes.byteLength - done, PIECE))).bytesWritten;
  }
}

function isMissing(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "ENOTDIR";
}
