import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, quoted } from "./errors.js";

export interface LockOptions {
  /** Called once if another process holds the lock. */
  readonly onWait?: (holder: string) => void;
  /** A holder that shows no sign of life for so long is taken for dead. */
  readonly staleMs?: number;
  readonly pollMs?: number;
}

interface Holder {
  readonly id: string;
  readonly pid: number;
  readonly host: string;
}

/**
 * Runs `body` while this process alone holds the lock file. Node has no flock(2): the file exists while it is held, its holder
 * touches it, and the lock of a process that is dead is taken over. Two that take over at once may both go on in theory;
 * what is guarded here then costs a second download and no damage.
 */
export async function withLock<T>(
  path: string,
  body: () => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const { staleMs = 10_000 } = options;
  await mkdir(dirname(path), { recursive: true });
  const holder: Holder = { id: randomUUID(), pid: process.pid, host: hostname() };
  await acquire(path, holder, { ...options, staleMs });
  const touch = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, staleMs / 4).unref();
  try {
    return await body();
  } finally {
    clearInterval(touch);
    if ((await readHolder(path))?.id === holder.id) await rm(path, { force: true });
  }
}

async function acquire(
  path: string,
  holder: Holder,
  { onWait, staleMs, pollMs = 100 }: LockOptions & { staleMs: number },
): Promise<void> {
  let told = false;
  let seen: { mark: string; at: number } | undefined;
  while (!(await create(path, holder))) {
    const other = await readHolder(path);
    const mark = `${other?.id} ${await touched(path)}`;
    if (mark !== seen?.mark) seen = { mark, at: performance.now() };
    const silent = performance.now() - seen.at > staleMs;
    if (silent || (other && isDead(other))) {
      await remove(path, other);
      seen = undefined;
      continue;
    }
    if (!told && other) {
      told = true;
      onWait?.(`process ${other.pid}${other.host === holder.host ? "" : ` on ${quoted(other.host)}`}`);
    }
    await sleep(pollMs);
  }
}

async function create(path: string, holder: Holder): Promise<boolean> {
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

/** Removes the lock file if it is still that holder's. */
async function remove(path: string, other: Holder | undefined): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside); // of two that try, one succeeds
    if ((await readHolder(aside))?.id === other?.id) await rm(aside, { force: true });
    else await rename(aside, path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const { id, pid, host } = JSON.parse(await readFile(path, "utf8")) as Partial<Holder>;
    return typeof id === "string" && Number.isInteger(pid) && typeof host === "string"
      ? { id, pid: pid!, host }
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

/** True for a process of this machine that is no more. */
function isDead({ pid, host }: Holder): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return errorCode(error) === "ESRCH";
  }
}
