import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readFile, readlink, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, quoted } from "../errors.js";

/** Who holds a lock. */
export interface LockHolder {
  readonly id: string;
  readonly pid: number;
  readonly host: string;
  /** What tells machines and containers of one name apart, where the system tells: its boot, and whose process numbers these are. */
  readonly system?: string | undefined;
  /** When the process began, in the system's own words, where it tells: a number that is given again is then another process. */
  readonly started?: string | undefined;
}

export interface LockOptions {
  /** Called once if another process holds the lock. */
  readonly onWait?: (holder: LockHolder) => void;
  /**
   * What to throw where another process holds the lock, instead of waiting. One of this machine holds it for as long as it lives,
   * stopped or not; one of another machine or container, if it touches the file while it is watched.
   */
  readonly refuse?: (holder: LockHolder) => Error;
  /** A holder that shows no sign of life for so long is taken for dead. */
  readonly staleMs?: number;
  readonly pollMs?: number;
  /** What silence is measured by. Default: the process's clock. */
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
 * Runs `body` while this process alone holds the lock file. Node has no flock(2): the file exists while it is held, its holder
 * touches it, and the lock of a process that is dead is taken over. `body` is given what tells whether the lock is still its own:
 * a process that was stopped for longer than the silence that is allowed may have lost it.
 * @throws what `refuse` makes
 */
export async function withLock<T>(
  path: string,
  body: (held: () => boolean) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const { staleMs = 10_000 } = options;
  await mkdir(dirname(path), { recursive: true });
  const { pid } = process;
  const { started } = (await processState(pid)) ?? {};
  const holder: LockHolder = { id: randomUUID(), pid, host: hostname(), system: await systemName(), started };
  await acquire(path, holder, { ...options, staleMs });
  let held = true;
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
    if ((await readHolder(path))?.id === holder.id) await rm(path, { force: true });
  }
}

/** Touches the lock file; false where another has taken it over meanwhile: a dead one's must not be kept alive. */
async function keep(path: string, holder: LockHolder): Promise<boolean> {
  if ((await readHolder(path))?.id !== holder.id) return false;
  const now = new Date();
  await utimes(path, now, now);
  return true;
}

type Waiting = LockOptions & { readonly staleMs: number };

async function acquire(path: string, holder: LockHolder, options: Waiting): Promise<void> {
  const { onWait, refuse, staleMs, pollMs = 100, clock = processClock } = options;
  let told = false;
  let seen: { mark: string; at: number } | undefined;
  while (!(await create(path, holder))) {
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
    if (!told && other) {
      told = true;
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
    throw error;
  }
}

/**
 * Removes a lock file that is still as it was seen. Those who would pass one at a time, by a lock that is named by what they saw, so
 * that none takes away what another has put in its place.
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

/** What tells one state of a lock file from another: its holder, and when it was touched, which an empty one has too. */
async function markOf(path: string): Promise<string> {
  return `${(await readHolder(path))?.id} ${await touched(path)}`;
}

async function readHolder(path: string): Promise<LockHolder | undefined> {
  try {
    const { id, pid, host, ...rest } = JSON.parse(await readFile(path, "utf8")) as Partial<LockHolder>;
    const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
    return typeof id === "string" && Number.isInteger(pid) && typeof host === "string"
      ? { id, pid: pid!, host, system: text(rest.system), started: text(rest.started) }
      : undefined;
  } catch {
    return undefined; // gone, or not yet written
  }
}

async function touched(path: string): Promise<number> {
  return stat(path).then(
    (s) => s.mtimeMs,
    () => 0,
  );
}

/** Whether the process that took the lock is still there; undefined for one of another machine or container, whose numbers say nothing here. */
async function isAlive(holder: LockHolder): Promise<boolean | undefined> {
  if (holder.host !== hostname()) return undefined;
  if (holder.system !== undefined && holder.system !== (await systemName())) return undefined;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return false; // EPERM: there is one, of another user
  }
  const state = await processState(holder.pid);
  if (!state) return true; // no such files on this system: the number must do
  return !state.ended && (holder.started === undefined || holder.started === state.started);
}

/**
 * This boot of the machine and the namespace of its process numbers; undefined where the system does not tell.
 * @source proc(5): /proc/sys/kernel/random/boot_id; pid_namespaces(7): /proc/PID/ns/pid
 */
async function systemName(): Promise<string | undefined> {
  try {
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return `${boot.trim()} ${await readlink("/proc/self/ns/pid")}`;
  } catch {
    return undefined;
  }
}

/**
 * A process's beginning, and whether it has ended and only its parent has not asked how; undefined where the system does not tell.
 * @source proc(5): /proc/PID/stat, state (3) and starttime (22, ticks since the boot), behind a name that may hold spaces and brackets
 */
async function processState(pid: number): Promise<{ started: string; ended: boolean } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return { started: `${boot.trim()} ${fields[19]}`, ended: ["Z", "X"].includes(fields[0]) };
  } catch {
    return undefined;
  }
}
