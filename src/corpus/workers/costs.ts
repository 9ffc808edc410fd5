import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isObject } from "../../json.js";
import { makeDirectory } from "../../node/make-directory.js";
import { naming } from "../../node/write-error.js";
import { inTurn, names, parsed } from "../directory.js";

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

/** That a worker takes a shard: a line before that of its cost, which a killed worker does not write. */
export interface Begun {
  readonly shard: number;
  readonly round: number;
  readonly outcome: "begun";
  /** ISO 8601. */
  readonly at: string;
}

/** Appends a line to a worker's file. @throws WriteError */
export async function writeCost(directory: string, worker: string, cost: Cost | Begun): Promise<void> {
  await makeDirectory(directory);
  const file = join(directory, `${worker}.jsonl`);
  await naming(file, () => appendFile(file, `${JSON.stringify(cost)}\n`));
}

/** What all workers spent. */
export interface Costs {
  readonly workers: number;
  /** How often each shard was tried, of those that were. */
  readonly tries: ReadonlyMap<number, number>;
  readonly costs: readonly Cost[];
}

/** Reads the files of all workers. */
export async function readCosts(directory: string): Promise<Costs> {
  const files = (await names(directory)).filter((name) => name.endsWith(".jsonl"));
  const texts = await inTurn(files, (name) => readFile(join(directory, name), "utf8").catch(() => ""));
  const tries = new Map<number, number>();
  const costs: Cost[] = [];
  for (const text of texts) {
    let open: number | undefined; // the shard of a try without its end
    for (const found of text.split("\n").slice(0, -1).map(parsed)) {
      if (!isObject(found) || typeof found["at"] !== "string") continue;
      const line = found as unknown as Cost | Begun;
      if (open !== line.shard) tries.set(line.shard, (tries.get(line.shard) ?? 0) + 1);
      open = line.outcome === "begun" ? line.shard : undefined;
      if (line.outcome !== "begun") costs.push(line);
    }
  }
  return { workers: files.length, tries, costs };
}
