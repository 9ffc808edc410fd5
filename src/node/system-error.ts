import { oneLine } from "../errors.js";

const refusals: Readonly<Record<string, string>> = {
  ENOENT: "expected a file of that name, got none; check the path",
  ENOTDIR: "expected a file of that name, got none; check the path",
  EISDIR: "expected a file, got a directory; name a file in it",
  EACCES: "expected a file that may be read, got no permission; change its mode or its owner",
  EPERM: "expected a file that may be read, got no permission; change its mode or its owner",
  ELOOP: "expected a file, got a link that leads back to itself; name the file itself",
  ENAMETOOLONG: "expected a name that the system takes, got one too long; shorten it",
  EMFILE: "expected a free file handle, got none; raise the limit of open files (ulimit -n)",
  ENOSPC: "expected room to write, got a full disk; free some space",
  EROFS: "expected a place to write, got a read-only disk; name another",
};

/**
 * What the system refused, in the form of this package's own errors; a code not listed is given
 * with its meaning.
 */
export function describeSystem({ code = "", syscall = "the call", message }: NodeJS.ErrnoException): string {
  if (Object.hasOwn(refusals, code)) return refusals[code];
  const meaning = /^[A-Z0-9]+: ([^,]+)/.exec(message)?.[1] ?? message;
  return `expected ${syscall} to succeed, got ${code} (${oneLine(meaning)}); try again, --debug shows where it failed`;
}
