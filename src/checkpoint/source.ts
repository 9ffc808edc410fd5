import { expectArgument, hasMethods } from "../arguments.js";
import { show } from "../json.js";
import { CheckpointError } from "../formats/errors.js";
import { refuseLfsPointer } from "./foreign.js";

/** Random-access bytes of one file. */
export interface ByteSource {
  /** What error messages call this file. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`.
   * @param into  room for them, which a source may use, to be read before it is used again; else they lie in memory of their own
   * @throws CheckpointError if they are not all there.
   */
  read(offset: number, length: number, into?: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  /** Gives the file handle back. */
  close(): Promise<void>;
}

/** A directory of model files, wherever it lives. File names are plain: no separators, no "..". */
export interface ModelFiles {
  /** What error messages call this directory. */
  readonly name: string;
  /** Names of the files and directories at the top. */
  list(): Promise<string[]>;
  /** Whether the directory has this name, be it a file or something that `open` refuses. */
  has(file: string): Promise<boolean>;
  /** @throws CheckpointError naming the file if it is missing or is no regular file. */
  open(file: string): Promise<ByteSource>;
  /** UTF-8 text. @throws CheckpointError if the file is missing, above `maxBytes`, or not UTF-8. */
  readText(file: string, maxBytes: number): Promise<string>;
  /** A directory in this one, whether it is there or not. @throws CheckpointError for a name that leaves this directory */
  directory(name: string): ModelFiles;
}

/** Refuses what is no ModelFiles, such as a path. @throws ArgumentError */
export function expectModelFiles(where: string, files: ModelFiles): void {
  expectArgument(
    `${where}: files`,
    hasMethods(files, "list", "open"),
    "ModelFiles, as modelDirectory(PATH) or memoryFiles(NAME, FILES) gives",
    files,
  );
}

/** @throws CheckpointError unless [offset, offset + length) lies inside the source. */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw new CheckpointError({
    file: source.name,
    field: "bytes",
    expected: `a range inside 0..${source.size}`,
    got: `${length} bytes at ${offset}`,
    advice: "the file is cut short or changed while it was read",
  });
}

/** A source over bytes in memory. `read` gives views, not copies: do not write to them. */
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

/** A model directory in memory: for browsers (files the user picked) and tests. Files of its directories are named DIRECTORY/FILE. */
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
      return memoryFiles(
        `${name}/${inner}`,
        new Map(below.map(([file, bytes]) => [file.slice(inner.length + 1), bytes])),
      );
    },
  };
}

/** The error for a file that a model directory lacks. */
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

/** True for a name that stays inside its directory on every system: no separators, drive letters, ".." or control characters. */
export function isPlainName(file: string): boolean {
  return file !== "" && file !== "." && file !== ".." && !/[/\\:\p{Cc}]/u.test(file);
}

/** @throws CheckpointError unless `file` is a plain name. */
export function checkPlainName(directory: string, file: string): void {
  if (isPlainName(file)) return;
  throw new CheckpointError({
    file: directory,
    field: "file name",
    expected: 'a name without path separators or ".."',
    got: show(file),
  });
}

/**
 * The whole source as UTF-8 text; closes it. The size is checked before anything is read.
 * @throws CheckpointError  larger than maxBytes, or not UTF-8
 */
export async function readUtf8(source: ByteSource, maxBytes: number): Promise<string> {
  try {
    if (source.size > maxBytes) {
      throw new CheckpointError({
        file: source.name,
        field: "size",
        expected: `at most ${maxBytes} bytes`,
        got: `${source.size} bytes`,
        advice: "is this the right file?",
      });
    }
    return decodeUtf8(await source.read(0, source.size), source.name, "text");
  } finally {
    await source.close();
  }
}

/** Strict UTF-8; a byte-order mark is kept, so that JSON refuses it. @throws CheckpointError */
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
