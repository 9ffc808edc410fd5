import {
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const stderr = 2;

/**
 * Dawn prints this for a driver that offers more dynamic buffers than Dawn counts; it concerns
 * nothing that the engine uses.
 */
const limitWarning =
  /^Warning: maxDynamic(?:Uniform|Storage)BuffersPerPipelineLayout artificially reduced from \d+ to \d+ to fit dynamic offset allocation limit\.\n/gm;

/**
 * Runs `body` and drops Dawn's warnings about dynamic buffers from what native code prints on
 * stderr meanwhile. Every other line is printed after `body` has run. Dawn offers no callback and
 * no toggle for these lines. Where stderr cannot be opened a second time (a socket, a file that is
 * not appended to, Windows), `body` runs as it is.
 * @param body  synchronous; nothing else may open files meanwhile, because descriptor 2 is free for
 *              a moment
 */
export function withoutLimitWarnings<T>(body: () => T): T {
  const saved = reopen(stderr);
  const directory = saved === undefined ? undefined : temporary();
  if (saved === undefined || directory === undefined) return body();
  const file = join(directory, "stderr");
  try {
    const captured = openSync(file, "wx");
    redirect(captured);
    closeSync(captured);
    try {
      return body();
    } finally {
      redirect(saved);
      const rest = readFileSync(file, "utf8").replaceAll(limitWarning, "");
      if (rest !== "") writeSync(stderr, rest);
    }
  } finally {
    closeSync(saved);
    rmSync(directory, { recursive: true });
  }
}

/** A new directory for temporary files; undefined where none can be made. */
function temporary(): string | undefined {
  try {
    return mkdtempSync(join(tmpdir(), "funasr-webgpu-"));
  } catch {
    return undefined;
  }
}

/**
 * The name by which an open descriptor can be opened again, undefined where the system has none.
 */
function nameOf(fd: number): string | undefined {
  if (process.platform === "linux") return `/proc/self/fd/${fd}`;
  return process.platform === "darwin" ? `/dev/fd/${fd}` : undefined;
}

const append = constants.O_WRONLY | constants.O_APPEND | constants.O_NOCTTY;

/**
 * A second descriptor of the same file; undefined where the two would not write at the same
 * position.
 */
function reopen(fd: number): number | undefined {
  const name = nameOf(fd);
  if (name === undefined || (fstatSync(fd).isFile() && !appends(fd))) return undefined;
  try {
    return openSync(name, append);
  } catch {
    return undefined; // a socket, or a terminal of another user
  }
}

/**
 * Whether every write to the descriptor goes to the end of the file; on macOS a second descriptor
 * shares the position.
 */
function appends(fd: number): boolean {
  if (process.platform !== "linux") return true;
  const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
  return (parseInt(flags, 8) & constants.O_APPEND) !== 0;
}

/**
 * Makes descriptor 2 another name of `fd`: the lowest free descriptor is the one that is opened.
 */
function redirect(fd: number): void {
  closeSync(stderr);
  openSync(nameOf(fd)!, append);
}
