import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";

const children = new Set<ChildProcess>();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    for (const child of children) child.kill(signal);
    process.exit(1);
  });

/** Runs a command to its end, its output in a log beside the results. @throws Error  it failed */
export async function run(command: string, args: readonly string[], log: string): Promise<void> {
  mkdirSync(dirname(log), { recursive: true });
  console.error([command === process.execPath ? "node" : command, ...args].join(" "));
  const out = createWriteStream(log, { flags: "a" });
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  child.stdout.pipe(out, { end: false });
  child.stderr.pipe(out, { end: false });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  children.delete(child);
  out.end();
  if (code !== 0) throw new Error(`${args.join(" ")}: ended with ${String(code)}; see ${log}`);
}

/** One command of the package. */
export async function cli(args: readonly string[], log: string): Promise<void> {
  await run(process.execPath, ["bin/funasr-webgpu.js", ...args], log);
}

/**
 * Makes a file or directory that does not exist yet. A stopped run leaves it under another name.
 */
export async function once(path: string, make: (unfinished: string) => Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  const unfinished = join(dirname(path), `unfinished-${path.slice(dirname(path).length + 1)}`);
  await make(unfinished);
  renameSync(unfinished, path);
  return path;
}

/** Runs the jobs in their order, so many at a time. */
export async function inParallel(count: number, jobs: readonly (() => Promise<void>)[]): Promise<void> {
  const left = [...jobs];
  const worker = async (): Promise<void> => {
    for (let job = left.shift(); job; job = left.shift()) await job();
  };
  await Promise.all(Array.from({ length: count }, worker));
}
