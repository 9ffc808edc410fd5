import { FileError, errorCode } from "../errors.js";

/** A file or a directory that could not be written. */
export class WriteError extends FileError {}

const refusals: Readonly<Record<string, readonly [expected: string, got: string, advice: string]>> = {
  ENOSPC: ["room for it", "a full disk", "free some space, or name another place"],
  EDQUOT: ["room for it", "a used-up quota", "free some space, or name another place"],
  EFBIG: ["a size that the file system takes", "a larger file", "name a place on another file system"],
  EACCES: [
    "permission to write there",
    "none",
    "change the directory's mode or owner, or name another place",
  ],
  EPERM: ["permission to write there", "none", "change the directory's mode or owner, or name another place"],
  EROFS: ["a place that can be written", "a read-only disk", "name another place"],
  ENOENT: ["a directory to write it in", "none", "make it, or check the path"],
  ENOTDIR: ["a directory to write it in", "a file", "check the path"],
  EISDIR: ["a name for a file", "a directory's", "name a file in it"],
  ENOTEMPTY: [
    "a new or an empty directory",
    "one that was filled meanwhile",
    "name another, or remove it first",
  ],
  EEXIST: ["a new name", "one that is taken", "name another, or remove it first"],
  ENAMETOOLONG: ["a name that the system takes", "one too long", "shorten it"],
  EMFILE: ["a free file handle", "none", "raise the limit of open files (ulimit -n)"],
  EIO: ["the disk to take it", "an input/output error", "check the disk"],
};

/** A refusal by the system as a WriteError that names the file; any other error as it is. */
export function writeError(path: string, error: unknown): unknown {
  if (error instanceof FileError) return error;
  const code = errorCode(error);
  if (code === undefined || !Object.hasOwn(refusals, code)) return error;
  const [expected, got, advice] = refusals[code];
  return new WriteError({ file: path, field: "write", expected, got, advice }, { cause: error });
}

/** Runs a function that writes `path`. @throws WriteError  the system refused it */
export async function naming<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw writeError(path, error);
  }
}
