import { type Options, SingleBar } from "cli-progress";
import { FileError, FunasrError, oneLine, plainText } from "../errors.js";
import { describeSystem } from "../node/system-error.js";

/** Exit codes of every command. */
export const exitCode = { done: 0, inputFailed: 1, wrongUsage: 2 } as const;

/** How a run prints. */
interface OutputMode {
  /** No notes and no bars. */
  quiet: boolean;
  /** An object on stdout for each error. */
  json: boolean;
}

const mode: OutputMode = { quiet: false, json: false };

/** Sets how the rest of the run prints. */
export function setOutput(options: { readonly quiet?: boolean; readonly json?: boolean }): void {
  mode.quiet = options.quiet === true;
  mode.json = options.json === true;
}

/** Prints a result on stdout. Control characters are escaped, except ends of lines and tabs. */
export function print(text: string): void {
  printPart(`${text}\n`);
}

/** Prints a piece of a result on stdout, as it comes. */
export function printPart(text: string): void {
  status("");
  process.stdout.write(plainText(text));
}

/** Prints a JSON object as one line of stdout. */
export function printJson(value: unknown): void {
  status("");
  process.stdout.write(`${plainText(JSON.stringify(value))}\n`); // JSON leaves marks of direction as they are
}

/** Prints a line for the person who runs the command on stderr; nothing with --quiet. */
export function note(text: string): void {
  if (!mode.quiet) complain(text);
}

/** Prints a line on stderr, with --quiet too. */
function complain(text: string): void {
  complainLines(oneLine(text));
}

/** Prints lines on stderr, with --quiet too. */
function complainLines(text: string): void {
  status("");
  process.stderr.write(`${plainText(text)}\n`);
}

/**
 * An error's text. This package's errors keep theirs; the system's errors take the same form.
 */
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

/** A file's name as errors print it; an empty one is visible. */
export function shown(file: string): string {
  return file === "" ? '""' : oneLine(file);
}

/**
 * Reports an error on stderr in one line, with its stack where `debug` is set, and marks the run as
 * failed.
 * @param file  the file that was worked on, put before an error that does not begin with it
 */
export function report(error: unknown, debug: boolean, file?: string): void {
  process.exitCode = exitCode.inputFailed;
  const message = describe(error, file).replaceAll(/\s*[\r\n]\s*/g, " ");
  complain(`error: ${message}`);
  if (mode.json) printJson(errorObject(error, message, file));
  if (debug && error instanceof Error) complainLines(error.stack ?? "");
}

/** The object that --json prints for an error; `file` is the input that failed, if one did. */
function errorObject(error: unknown, message: string, file?: string): object {
  const name = error instanceof Error ? error.name : "Error";
  if (!(error instanceof FileError)) {
    const { path, code } = error as NodeJS.ErrnoException;
    return { file: file ?? path, error: { name, message, code } };
  }
  const { field, expected, got } = error;
  return { file: file ?? error.file, error: { name, message, field, expected, got } };
}

let lineOpen = false;

/** Whether stdout shows lines that change. */
export function showsOpenLine(): boolean {
  return process.stdout.isTTY && process.env.TERM !== "dumb";
}

/**
 * Shows text at the end of a terminal's stdout until the next line of any kind: plain, then dim.
 * Two empty texts clear it.
 */
export function openLine(plain: string, dim: string): void {
  if (!showsOpenLine() || (!lineOpen && plain + dim === "")) return;
  const faint = dim === "" ? "" : `\x1b[2m${oneLine(dim)}\x1b[22m`;
  process.stdout.write(`\r\x1b[K${oneLine(plain)}${faint}`);
  lineOpen = plain + dim !== "";
}

let statusShown = false;

/**
 * Shows a line on stderr until the next line of any kind; "" clears it. Nothing if stderr is no
 * terminal.
 */
export function status(text: string): void {
  openLine("", "");
  const { isTTY, columns } = process.stderr;
  if (!isTTY || mode.quiet || (text === "" && !statusShown)) return;
  process.stderr.write(`\r\x1b[K${oneLine(text).slice(0, (columns || 80) - 1)}`); // a terminal without a size has 0
  statusShown = text !== "";
}

const hidden = new Set<SingleBar>();

/**
 * A bar on stderr that hides the cursor while it is shown; undefined where stderr is no terminal,
 * and with --quiet.
 */
export function terminalBar(options: Options): SingleBar | undefined {
  if (!process.stderr.isTTY || mode.quiet) return undefined;
  const bar = new SingleBar({ clearOnComplete: true, hideCursor: true, stream: process.stderr, ...options });
  bar.on("start", () => hidden.add(bar));
  bar.on("stop", () => hidden.delete(bar));
  return bar;
}

/**
 * Removes bars and the status line from the terminal, and shows the cursor again.
 */
export function restoreTerminal(): void {
  for (const bar of hidden) bar.stop();
  status("");
}

/** Receives the amount that is done and the total. */
export type OnProgress = (done: number, total: number) => void;

/** A progress bar on stderr that appears with its first value, where that is a terminal. */
export function progressBar(label: string): { readonly update: OnProgress; readonly stop: () => void } {
  let bar: SingleBar | undefined;
  return {
    update: (done, total) => {
      if (!bar) {
        bar = terminalBar({ format: `${label} {bar} {percentage}%` });
        bar?.start(total, 0);
      }
      bar?.update(done);
    },
    stop: () => {
      bar?.stop();
      bar = undefined;
    },
  };
}

/** Runs `body` with a progress bar. */
export async function withBar<T>(label: string, body: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  const bar = progressBar(label);
  try {
    return await body(bar.update);
  } finally {
    bar.stop();
  }
}
