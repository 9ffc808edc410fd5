import { createHash, randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { open, readFile, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, quoted } from "../errors.js";
import { type ProcessOwner, isAlive, thisProcess } from "./process-owner.js";
import { onInterruption } from "./unfinished.js";
import { writeError } from "./write-error.js";
import { makeDirectory } from "./make-directory.js";

/** Who holds a lock. */
export interface LockHolder extends ProcessOwner {
  readonly id: string;
}

export interface LockOptions {
  /** Called once if another process holds the lock. */
  readonly onWait?: (holder: LockHolder) => void;
  /**
   * What to throw where another process holds the lock, instead of waiting. One of this machine
   * holds it for as long as it lives, stopped or not; one of another machine or container, if it
   * touches the file while it is watched.
   */
  readonly refuse?: (holder: LockHolder) => Error;
  /** A holder that does not touch the file for so long counts as dead. */
  readonly staleMs?: number;
  readonly pollMs?: number;
  /** Ends the wait for another's lock, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Measures the silence. Default: the process's clock. */
  readonly clock?: LockClock;
}

export interface LockClock {
  /** Milliseconds since some beginning. */
  now(): number;
  sleep(ms: number): Promise<unknown>;
}

const processClock: LockClock = { now: () => performance.now(), sleep };

/** "process 7", with the machine where it is another one. */
export function holderName({ pid, host }: LockHolder): string {
  return `process ${pid}${host === hostname() ? "" : ` on ${quoted(host)}`}`;
}

/**
 * Runs `body` while this process alone holds the lock file. Node has no flock(2): the file exists
 * while it is held, its holder touches it, and the lock of a process that is dead is taken over.
 * `body` gets a check that the lock is still its own: a process that was stopped for longer than
 * the allowed silence may have lost it.
 * @throws what `refuse` makes
 */
export async function withLock<T>(
  path: string,
  body: (held: () => boolean) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const { staleMs = 10_000 } = options;
  await makeDirectory(dirname(path));
  const holder: LockHolder = { id: randomUUID(), ...(await thisProcess()) };
  await acquire(path, holder, { ...options, staleMs });
  let held = true;
  const forget = onInterruption(() => {
    if (parseHolder(readFileSync(path, "utf8"))?.id === holder.id) rmSync(path, { force: true });
  });
  const touch = setInterval(() => {
    keep(path, holder).then(
      (kept) => (held = kept),
      () => undefined,
    );
  }, staleMs / 4).unref();
  try {
    return await body(() => held);
  } finally {
    clearInterval(touch);
    forget();
    if ((await readHolder(path))?.id === holder.id) await rm(path, { force: true });
  }
}

/**
 * Touches the lock file; false where another has taken it over meanwhile: a dead one's must not be
 * kept alive.
 */
async function keep(path: string, holder: LockHolder): Promise<boolean> {
  if ((await readHolder(path))?.id !== holder.id) return false;
  const now = new Date();
  await utimes(path, now, now);
  return true;
}

type Waiting = LockOptions & { readonly staleMs: number };

async function acquire(path: string, holder: LockHolder, options: Waiting): Promise<void> {
  const { onWait, refuse, staleMs, pollMs = 100, clock = processClock, signal } = options;
  let reported = false;
  let seen: { mark: string; at: number } | undefined;
  while (!(await create(path, holder))) {
    signal?.throwIfAborted();
    const other = await readHolder(path);
    const mark = await markOf(path);
    const alive = other && (await isAlive(other));
    const changed = mark !== seen?.mark;
    if (other && refuse && (alive ?? (seen !== undefined && changed))) throw refuse(other);
    if (changed || !seen) seen = { mark, at: clock.now() };
    const silent = clock.now() - seen.at > staleMs;
    if (silent || alive === false) {
      await remove(path, mark, holder, { staleMs, pollMs, clock });
      seen = undefined;
      continue;
    }
    if (!reported && other) {
      reported = true;
      onWait?.(other);
    }
    await clock.sleep(pollMs);
  }
}

async function create(path: string, holder: LockHolder): Promise<boolean> {
  try {
    const handle = await open(path, "wx");
    try {
      await handle.writeFile(JSON.stringify(holder)).finally(() => handle.close());
    } catch (error) {
      await rm(path, { force: true }); // the disk is full
      throw error;
    }
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw writeError(path, error);
  }
}

/**
 * Removes a lock file that has not changed since it was read. A second lock, named by the state
 * that was read, lets one process at a time do this, so that none removes a lock that another has
 * made meanwhile.
 */
async function remove(path: string, mark: string, holder: LockHolder, options: Waiting): Promise<void> {
  const claim = `${path}.${createHash("sha256").update(mark).digest("hex").slice(0, 12)}`;
  await acquire(claim, holder, options);
  try {
    if ((await markOf(path)) === mark) await rm(path, { force: true });
  } finally {
    await rm(claim, { force: true });
  }
}

/**
 * Identifies one state of a lock file: its holder, and its time of change, which an empty file has
 * too.
 */
async function markOf(path: string): Promise<string> {
  return `${(await readHolder(path))?.id} ${await touched(path)}`;
}

async function readHolder(path: string): Promise<LockHolder | undefined> {
  return readFile(path, "utf8").then(parseHolder, () => undefined); // gone
}

/** A lock file's holder; undefined where it is not yet written. */
function parseHolder(content: string): LockHolder | undefined {
  try {
    const { id, pid, host, ...rest } = JSON.parse(content) as Partial<LockHolder>;
    const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
    return typeof id === "string" && Number.isInteger(pid) && typeof host === "string"
      ? { id, pid: pid!, host, system: text(rest.system), started: text(rest.started) }
      : undefined;
  } catch {
    return undefined;
  }
}

async function touched(path: string): Promise<number> {
  return stat(path).then(
    (s) => s.mtimeMs,
    () => 0,
  );
}
