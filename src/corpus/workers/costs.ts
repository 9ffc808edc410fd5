import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "../../node/make-directory.js";
import { naming } from "../../node/write-error.js";

/** What a worker spent on a shard: a line of `costs/WORKER.jsonl`. */
export interface Cost {
  readonly shard: number;
  readonly round: number;
  readonly outcome: "done" | "failed" | "given back" | "lost";
  /** Of the audio in the result; 0 where there is none. */
  readonly audioSeconds: number;
  /** In which the device was at work on it. */
  readonly gpuSeconds: number;
  readonly wallSeconds: number;
  /** Starts of the engine's process beyond the first. */
  readonly restarts: number;
  /** When it ended, ISO 8601. */
  readonly at: string;
  readonly device: string;
  readonly error?: string;
}

/** Appends a cost to its worker's file. @throws WriteError */
export async function writeCost(directory: string, worker: string, cost: Cost): Promise<void> {
  await makeDirectory(directory);
  const file = join(directory, `${worker}.jsonl`);
  await naming(file, () => appendFile(file, `${JSON.stringify(cost)}\n`));
}
