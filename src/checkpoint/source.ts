import { expectArgument, hasMethods } from "../arguments.js";
import { show } from "../json.js";
import { CheckpointError, checkpointError, tensorField } from "../formats/errors.js";
import { refuseLfsPointer } from "./foreign.js";

/** Random-access bytes of one file. */
export interface ByteSource {
  /** The file's name in error messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`.
   * @param into  a buffer that the source may use for the result, valid until its next use
   * @throws CheckpointError  the file is shorter
   */
  read(offset: number, length: number, into?: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  /** Gives the file handle back. */
  close(): Promise<void>;
}

/** A directory of model files, on disk or in memory. File names have no separators or "..". */
export interface ModelFiles {
  /** The directory's name in error messages. */
  readonly name: string;
  /** Names of the files and directories at the top. */
  list(): Promise<string[]>;
  /** Whether the directory has this name, be it a file or something that `open` refuses. */
  has(file: string): Promise<boolean>;
  /** @throws CheckpointError  the file is missing or not a regular file */
  open(file: string): Promise<ByteSource>;
  /** UTF-8 text. @throws CheckpointError  the file is missing, above `maxBytes`, or not UTF-8 */
  readText(file: string, maxBytes: number): Promise<string>;
  /**
   * A directory in this one; it need not exist.
   * @throws CheckpointError  the name leaves this directory
   */
  directory(name: string): ModelFiles;
  /** The checkpoint that was trained: see filesOverBase. */
  readonly base?: ModelFiles;
}

/**
 * A directory of a trained checkpoint over the one that was trained: files that it lacks, but for
 * weights, are the base's, and a layout may take tensors that it lacks from the base.
 */
export function filesOverBase(files: ModelFiles, base: ModelFiles): ModelFiles {
  const holder = async (file: string): Promise<ModelFiles> =>
    /^model\.(pt|safetensors)/.test(file) || (await files.has(file)) ? files : base;
  return {
    ...files,
    base,
    has: async (file) => (await files.has(file)) || (await base.has(file)),
    open: async (file) => (await holder(file)).open(file),
    readText: async (file, maxBytes) => (await holder(file)).readText(file, maxBytes),
    directory: (name) => filesOverBase(files.directory(name), base.directory(name)),
  };
}

/** @throws ArgumentError  not a ModelFiles, for example a path */
export function expectModelFiles(where: string, files: ModelFiles): void {
  expectArgument(
    `${where}: files`,
    hasMethods(files, "list", "open"),
    "ModelFiles, as modelDirectory(PATH) or memoryFiles(NAME, FILES) gives",
    files,
  );
}

/** @throws CheckpointError  [offset, offset + length) is not inside the source */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  const areIntegers = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (areIntegers && offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw checkpointError(
    source.name,
    "bytes",
    `a range inside 0..${source.size}`,
    `${length} bytes at ${offset}`,
    "the file is cut short or changed while it was read",
  );
}

/** @throws CheckpointError  [byteOffset, byteOffset + byteLength) is not inside the tensor */
export function checkTensorRange(
  file: string,
  tensor: { readonly name: string; readonly byteLength: number },
  byteOffset: number,
  byteLength: number,
): void {
  if (byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= tensor.byteLength) return;
  const expected = `a range inside its ${tensor.byteLength} bytes`;
  throw checkpointError(file, tensorField(tensor.name), expected, `${byteLength} bytes at ${byteOffset}`);
}

/**
 * Bytes [byteOffset, byteOffset + byteLength) of one tensor of a file.
 * @param into  see ByteSource.read
 * @throws CheckpointError  the range is not inside the tensor
 */
export async function readRange(
  source: ByteSource,
  tensor: { readonly name: string; readonly offset: number; readonly byteLength: number },
  byteOffset: number,
  byteLength: number,
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  checkTensorRange(source.name, tensor, byteOffset, byteLength);
  checkRange(source, tensor.offset + byteOffset, byteLength);
  return source.read(tensor.offset + byteOffset, byteLength, into);
}

/** Runs `body`, and closes `opened` if it fails. */
export async function closeOnError<T>(
  opened: { close(): Promise<void> },
  body: () => T | Promise<T>,
): Promise<T> {
  try {
    return await body();
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/**
 * Opens files of a directory with `open`; closes all of them if one fails.
 * @returns by name, in order
 */
export async function openAll<T extends { readonly source: ByteSource }>(
  files: ModelFiles,
  names: Iterable<string>,
  open: (source: ByteSource) => Promise<T>,
): Promise<Map<string, T>> {
  const sources: ByteSource[] = [];
  const opened = new Map<string, T>();
  const close = (): Promise<void> => closeAll(sources.map((source) => ({ source })));
  return closeOnError({ close }, async () => {
    for (const name of names) {
      const source = await files.open(name);
      sources.push(source);
      opened.set(name, await open(source));
    }
    return opened;
  });
}

/** Closes the sources of open files. */
export async function closeAll(opened: Iterable<{ readonly source: ByteSource }>): Promise<void> {
  for (const { source } of opened) await source.close();
}

/** A source over bytes in memory. `read` returns views, not copies: do not write to them. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  const source: ByteSource = {
    name,
    size: bytes.byteLength,
    read: (offset, length) =>
      new Promise((resolve) => {
        checkRange(source, offset, length);
        resolve(bytes.subarray(offset, offset + length));
      }),
    close: () => Promise.resolve(),
  };
  return source;
}

/** A model directory in memory. A file of a directory inside it is named DIRECTORY/FILE. */
export function memoryFiles(name: string, files: ReadonlyMap<string, Uint8Array>): ModelFiles {
  const open = (file: string): Promise<ByteSource> => {
    const bytes = files.get(file);
    return bytes
      ? refuseLfsPointer(bytesSource(`${name}/${file}`, bytes))
      : Promise.reject(missingFile(name, file));
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
      const names = below.map(([file, bytes]) => [file.slice(inner.length + 1), bytes] as const);
      return memoryFiles(`${name}/${inner}`, new Map(names));
    },
  };
}

/** The error for a missing file of a model directory. */
export function missingFile(directory: string, file: string, options?: ErrorOptions): CheckpointError {
  return new CheckpointError(
    {
      file: directory,
      field: file,
      expected: "a file of that name",
      got: "none",
      advice: "check the path, or download the model again",
    },
    options,
  );
}

/** True for a name without separators, drive letters, ".." or control characters. */
export function isPlainName(file: string): boolean {
  return file !== "" && file !== "." && file !== ".." && !/[/\\:\p{Cc}]/u.test(file);
}

/** @throws CheckpointError  not a plain name */
export function checkPlainName(directory: string, file: string): void {
  if (isPlainName(file)) return;
  throw checkpointError(directory, "file name", 'a name without path separators or ".."', show(file));
}

/**
 * Reads a source as UTF-8 text and closes it.
 * @throws CheckpointError  larger than maxBytes (checked before reading), or not UTF-8
 */
export async function readUtf8(source: ByteSource, maxBytes: number): Promise<string> {
  try {
    if (source.size > maxBytes) {
      throw checkpointError(
        source.name,
        "size",
        `at most ${maxBytes} bytes`,
        `${source.size} bytes`,
        "is this the right file?",
      );
    }
    return decodeUtf8(await source.read(0, source.size), source.name, "text");
  } finally {
    await source.close();
  }
}

/**
 * Strict UTF-8. A byte-order mark stays, so that JSON refuses it.
 * @throws CheckpointError  not UTF-8
 */
export function decodeUtf8(bytes: Uint8Array, file: string, field: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(
      { file, field, expected: "UTF-8", got: "other bytes", advice: "the file is damaged" },
      { cause },
    );
  }
}
