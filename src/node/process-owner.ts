import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { errorCode } from "../errors.js";

/** Identifies a process for other processes. */
export interface ProcessOwner {
  readonly pid: number;
  readonly host: string;
  /**
   * The boot and the namespace of process numbers, where the system reports them: machines and
   * containers may share a name.
   */
  readonly system?: string | undefined;
  /**
   * Start of the process, as the system writes it, where it reports one: a process number may be
   * used again.
   */
  readonly started?: string | undefined;
}

/** This process. */
export async function thisProcess(): Promise<ProcessOwner> {
  const { pid } = process;
  const { started } = (await processState(pid)) ?? {};
  return { pid, host: hostname(), system: await systemName(), started };
}

/**
 * Whether a process is still there; undefined for one of another machine or container, whose
 * numbers say nothing here.
 */
export async function isAlive(holder: ProcessOwner): Promise<boolean | undefined> {
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
 * This boot of the machine and the namespace of its process numbers; undefined where the system
 * does not report them.
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
 * Start of a process, and whether it is a zombie (ended, but not yet waited for by its parent).
 * Undefined where the system does not report them.
 * @source proc(5): /proc/PID/stat, state (3) and starttime (22, ticks since the boot), behind a
 *         name that may hold spaces and brackets
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
