import { createHash, randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { isAlive, thisProcess } from "./process-owner.js";

/** Unfinished outputs and locks, which a signal that ends the process has to remove. */
const undone = new Set<() => void>();

/** Registers a synchronous clean-up for an interruption. @returns a function that cancels it */
export function onInterruption(undo: () => void): () => void {
  undone.add(undo);
  return () => undone.delete(undo);
}

/** Runs all clean-ups. Called once, before a signal ends the process. */
export function undoInterrupted(): void {
  for (const undo of undone) {
    try {
      undo();
    } catch {
      continue; // gone already, or not ours to remove; the rest counts too
    }
  }
  undone.clear();
}

/** Registers an unfinished output. @returns a function that cancels it */
export function inWork(path: string): () => void {
  return onInterruption(() => rmSync(path, { recursive: true, force: true }));
}

/** `NAME.PID.STARTED.HASH.part`: the hash is 6 digits of the process's system, and 6 of chance. */
const pattern = /\.(\d+)\.(\d+)\.([0-9a-f]{6})[0-9a-f]{6}\.part$/;

interface Owner {
  readonly pid: number;
  /** Ticks since the boot; 0 where the system does not report them. */
  readonly started: string;
  readonly system: string;
}

let owner: Promise<Owner> | undefined;

function self(): Promise<Owner> {
  return (owner ??= thisProcess().then(({ pid, host, system = "", started = "" }) => ({
    pid,
    started: started.split(" ").at(-1) || "0",
    system: createHash("sha256").update(`${host} ${system}`).digest("hex").slice(0, 6),
  })));
}

/** A new name beside `path` for an unfinished output. It names this process. */
export async function unfinishedName(path: string): Promise<string> {
  const { pid, started, system } = await self();
  return `${path.replace(/(?<=.)[/\\]+$/, "")}.${pid}.${started}.${system}${randomBytes(3).toString("hex")}.part`;
}

let report: (message: string) => void = () => undefined;
const searched = new Set<string>();

/** Sets the function that gets a line about each output that a killed process left. */
export function onLeftover(listener: (message: string) => void): void {
  report = listener;
}

/**
 * Removes what killed processes left unfinished in the directory of `path`, once a process. The
 * owner of each is in its name: an output of a live process stays, one of another machine or
 * container is reported and stays.
 */
export async function removeLeftovers(path: string): Promise<void> {
  const directory = dirname(path);
  if (searched.has(directory)) return;
  searched.add(directory);
  for (const name of await readdir(directory).catch(() => [])) {
    const file = join(directory, name);
    const dead = await isLeft(name);
    if (dead) {
      await rm(file, { recursive: true, force: true }).then(
        () => report(`${file}: removed; a run that was killed left it unfinished`),
        () => report(`${file}: a run that was killed left it unfinished; remove it`),
      );
    } else if (dead === undefined && name.startsWith(`${basename(path)}.`)) {
      report(`${file}: unfinished, of another machine or container; remove it if no run is writing it`);
    }
  }
}

/**
 * Whether a name is of an output whose process has ended; undefined where that cannot be known
 * here.
 */
async function isLeft(name: string): Promise<boolean | undefined> {
  const [, pid, started, system] = pattern.exec(name) ?? [];
  if (pid === undefined) return false;
  const here = await self();
  if (system !== here.system) return undefined;
  const found = await thisProcess();
  const boot = found.started?.split(" ")[0];
  const begun = started === "0" || boot === undefined ? undefined : `${boot} ${started}`;
  const alive = await isAlive({ pid: Number(pid), host: hostname(), system: found.system, started: begun });
  return alive === undefined ? undefined : !alive;
}
