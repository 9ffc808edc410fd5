import { hostname } from "node:os";
import { randomBytes } from "node:crypto";
import { WriteError } from "../../node/write-error.js";
import { makeDirectory } from "../../node/make-directory.js";
import { reason } from "../../json.js";
import { dirname } from "node:path";
import type { CorpusDirectory } from "../directory.js";
import { CorpusError } from "../errors.js";
import { type CorpusEngine, EngineUnavailable } from "../engine/engine.js";
import { type Cost, writeCost } from "./costs.js";
import { forgetGivenUp } from "./given-up.js";
import { AudioOutOfReach } from "./reach.js";
import { runShard, writeResult } from "./shard-result.js";
import { type Handed, type ShardSource, StopWorker } from "./source.js";

/** What a worker does. */
export interface WorkOptions {
  readonly directory: CorpusDirectory;
  /** Hands the shards out. */
  readonly source: ShardSource;
  readonly engine: CorpusEngine;
  /** Name of this worker, unique among all. */
  readonly worker: string;
  /** See RunOptions. */
  readonly acceptMissing?: boolean | undefined;
  /** Ends the work; the shard in work is given back. */
  readonly signal?: AbortSignal;
  /** Called with the cost of each shard, whatever its outcome. */
  readonly onShard?: (cost: Cost) => void;
  readonly onNote?: (text: string) => void;
}

/** What a worker did. */
export interface WorkSummary {
  readonly shards: number;
  readonly audioSeconds: number;
  readonly gpuSeconds: number;
  /** Shards that were given up, with their last reason. */
  readonly failed: ReadonlyMap<number, string>;
}

/** A name for a worker that no other has. */
export function workerName(): string {
  const host = hostname().replace(/[^\w.-]/g, "_");
  return `${host}-${process.pid}-${randomBytes(3).toString("hex")}`;
}

/**
 * Does shards until none is left for this worker.
 * @throws CorpusError  the plan was changed meanwhile; WriteError  a full disk; EngineUnavailable;
 *                      AudioOutOfReach. The shard in work is given back first
 */
export async function workCorpus(options: WorkOptions): Promise<WorkSummary> {
  const { directory, source, signal = new AbortController().signal } = options;
  await makeDirectory(dirname(directory.resultPath(0, 0)));
  await makeDirectory(dirname(directory.donePath(0, 0)));
  const sum = { shards: 0, audioSeconds: 0, gpuSeconds: 0 };
  const failed = await source.run(async (handed, lost) => {
    const cost = await oneShard(handed, lost, options);
    sum.shards++;
    sum.audioSeconds += cost.audioSeconds;
    sum.gpuSeconds += cost.gpuSeconds;
  }, signal);
  return { ...sum, failed };
}

async function oneShard(handed: Handed, signal: AbortSignal, options: WorkOptions): Promise<Cost> {
  const { directory, engine, worker, acceptMissing, onShard, onNote } = options;
  const { shard, round } = handed;
  const begun = performance.now();
  const before = engine.usage();
  const spent = async (outcome: Cost["outcome"], audioSeconds: number, error?: string): Promise<Cost> => {
    const { gpuSeconds, restarts } = engine.usage();
    const cost: Cost = {
      shard: shard.shard,
      round,
      outcome,
      audioSeconds,
      gpuSeconds: milli(gpuSeconds - before.gpuSeconds),
      wallSeconds: milli((performance.now() - begun) / 1000),
      restarts: restarts - before.restarts,
      at: new Date().toISOString(),
      device: engine.device,
      ...(error !== undefined && { error }),
    };
    await writeCost(directory.costsPath, worker, cost).catch((why: unknown) => onNote?.(reason(why)));
    onShard?.(cost);
    return cost;
  };
  const begin = { shard: shard.shard, round, outcome: "begun", at: new Date().toISOString() } as const;
  await writeCost(directory.costsPath, worker, begin).catch((why: unknown) => onNote?.(reason(why)));
  try {
    await forgetGivenUp(directory, handed);
    await directory.checkUnchanged();
    const result = await runShard(directory, handed, { engine, signal, acceptMissing });
    signal.throwIfAborted();
    await writeResult(directory, handed, result);
    return await spent("done", result.done.seconds);
  } catch (error) {
    const stops = isFatal(error);
    const outcome = stops || options.signal?.aborted ? "given back" : signal.aborted ? "lost" : "failed";
    await spent(outcome, 0, reason(error));
    throw stops ? new StopWorker(error) : error;
  }
}

const fatal = [CorpusError, WriteError, EngineUnavailable, AudioOutOfReach];

/** Whether an error is the worker's, and no shard's. */
function isFatal(error: unknown): boolean {
  return fatal.some((kind) => error instanceof kind);
}

function milli(value: number): number {
  return Math.round(value * 1000) / 1000;
}
