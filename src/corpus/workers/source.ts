import type { CorpusDirectory, Shard } from "../directory.js";

/** Shards as they are handed out. */
export interface Handed {
  readonly shard: Shard;
  /** See CorpusDirectory.rounds. */
  readonly round: number;
}

/**
 * Does a shard.
 * @param signal  aborted where the shard is another's now, or the worker ends
 * @throws  it was not done: another try may succeed; StopWorker: this worker has to end
 */
export type DoShard = (handed: Handed, signal: AbortSignal) => Promise<void>;

/** What hands shards out to workers. A shard may run twice, whichever way it is handed out. */
export interface ShardSource {
  /**
   * Hands shards out one by one until none is left for this worker, or the signal is aborted.
   * @returns  shards that failed so often that they are given up, with the last reason
   * @throws   StopWorker's cause: the shard in work was given back
   */
  run(doShard: DoShard, signal: AbortSignal): Promise<ReadonlyMap<number, string>>;
}

/** What a source is made for. */
export interface SourceOptions {
  readonly directory: CorpusDirectory;
  /** Name of this worker. */
  readonly worker: string;
  /** How often a shard may fail. Default: 3. */
  readonly attempts?: number;
  /** Pause before a shard that failed is tried again, ms; each more doubles it. Default: 10,000. */
  readonly backoffMs?: number;
  readonly onNote?: (text: string) => void;
}

export const SOURCE_DEFAULTS = { attempts: 3, backoffMs: 10_000 } as const;

/** This worker cannot go on: its shard is given back as it was. */
export class StopWorker extends Error {
  constructor(readonly why: unknown) {
    super("the worker ends");
  }
}

/** Resolves after `ms`, or when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
