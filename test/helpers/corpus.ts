import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CorpusDirectory } from "../../src/corpus/directory.js";
import { mergeCorpus } from "../../src/corpus/merge/merge.js";
import { planCorpus } from "../../src/corpus/plan/plan.js";

/** Path of the worker's program. */
export const program = fileURLToPath(new URL("corpus-worker.js", import.meta.url));
const files = { name: "none", sha256: "0" };

/** What a worker of corpus-worker.js is told. */
export interface WorkerSettings {
  readonly path: string;
  readonly way: "claims" | "queue";
  readonly url?: string;
  readonly leaseMs?: number;
  readonly lockMs?: number;
  readonly itemMs?: number;
  readonly attempts?: number;
}

/** Plans utterances of 10 s that are not there, five to a shard. @param names  of the audio files */
export async function planNames(path: string, names: readonly string[]): Promise<CorpusDirectory> {
  const list = `${path}.jsonl`;
  const lines = names.map((audio, i) => JSON.stringify({ audio, duration: 10, key: `u${i}` }));
  writeFileSync(list, `${lines.join("\n")}\n`);
  const options = { inputs: [list], out: path, version: "1", model: files, vad: files, shardSeconds: 50 };
  await planCorpus(options);
  return CorpusDirectory.open(path);
}

/** Starts a worker with an engine that makes texts from names; it needs the build. */
export function startWorker(settings: WorkerSettings): ChildProcess {
  return spawn(process.execPath, [program, JSON.stringify(settings)], { stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a worker to its end. */
export async function runWorker(
  settings: WorkerSettings,
): Promise<{ readonly code: number | null; readonly shards: string[]; readonly notes: string }> {
  const child = startWorker(settings);
  let [stdout, notes] = ["", ""];
  child.stdout!.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr!.on("data", (data: Buffer) => (notes += data.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, shards: stdout.split("\n").slice(0, -1), notes };
}

/** The merged bytes. */
export async function mergedText(path: string): Promise<string> {
  const out = `${path}.merged`;
  await mergeCorpus(await CorpusDirectory.open(path), { out });
  return readFileSync(out, "utf8");
}
