import { SingleBar } from "cli-progress";
import { FunasrError, oneLine } from "../errors.js";

/** Exit codes of every command. */
export const exitCode = { done: 0, inputFailed: 1, wrongUsage: 2 } as const;

/** One result on stdout. */
export function print(text: string): void {
  status("");
  process.stdout.write(`${text}\n`);
}

/** One JSON object on a line of stdout. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** One line for the person who runs the command, on stderr. */
export function note(text: string): void {
  status("");
  process.stderr.write(`${text}\n`);
}

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

/** What the system refused in the form of this package's own errors; a code not listed is given with its meaning. */
function describeSystem({ code = "", syscall = "the call", message }: NodeJS.ErrnoException): string {
  if (Object.hasOwn(refusals, code)) return refusals[code];
  const meaning = /^[A-Z0-9]+: ([^,]+)/.exec(message)?.[1] ?? message;
  return `expected ${syscall} to succeed, got ${code} (${oneLine(meaning)}); try again, --debug shows where it failed`;
}

/** An error's text: that of this package's own errors as it is, that of the system's in the same form. */
export function describe(error: unknown, file?: string): string {
  if (error instanceof FunasrError) {
    const name = file === undefined ? "" : shown(file);
    return error.message.startsWith(name) ? error.message : `${name}: ${error.message}`;
  }
  if (!(error instanceof Error)) return `unexpected: ${String(error)}`;
  const { code, path = file } = error as NodeJS.ErrnoException;
  if (code === undefined) return `unexpected: ${error.message}`;
  return `${path === undefined ? "" : `${shown(path)}: `}${describeSystem(error)}`;
}

/** A file's name as errors give it, so that one without letters can be seen. */
export function shown(file: string): string {
  return file === "" ? '""' : oneLine(file);
}

/**
 * Reports an error on stderr in one line, with its stack where `debug` is set, and marks the run as failed.
 * @param file  the file that was worked on, put before an error that does not begin with it
 */
export function report(error: unknown, debug: boolean, file?: string): void {
  process.exitCode = exitCode.inputFailed;
  note(`error: ${describe(error, file).replaceAll(/\s*[\r\n]\s*/g, " ")}`);
  if (debug && error instanceof Error) note(error.stack ?? "");
}

/** Rows of cells as aligned lines; columns named in `right` are aligned to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A count with separators, e.g. 12,345. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Bytes in the largest fitting decimal unit. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  const scaled = value / 1000 ** power;
  return `${power === 0 ? scaled : scaled.toPrecision(3)} ${units[power]}`;
}

let statusShown = false;

/** A line on stderr that the next line of any kind replaces, where that is a terminal, else nothing; "" clears it. */
export function status(text: string): void {
  const { isTTY, columns } = process.stderr;
  if (!isTTY || (text === "" && !statusShown)) return;
  process.stderr.write(`\r\x1b[K${oneLine(text).slice(0, (columns || 80) - 1)}`); // a terminal without a size has 0
  statusShown = text !== "";
}

/** A progress bar on stderr where that is a terminal, else nothing. */
export function progressBar(
  label: string,
  total: number,
): { update: (value: number) => void; stop: () => void } {
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}%`,
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });
  bar.start(total, 0);
  return { update: (value) => bar.update(value), stop: () => bar.stop() };
}
