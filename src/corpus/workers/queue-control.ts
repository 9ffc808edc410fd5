import type { CorpusDirectory } from "../directory.js";
import { connectRedis, failedJobs, openQueue, reasonsOf } from "./queue.js";

/** What is done to a queue. */
export interface QueueControl {
  readonly queue: string;
  /** Workers take no new shard. */
  readonly pause?: boolean;
  readonly resume?: boolean;
  /** So many of the last jobs that wait come first. */
  readonly first?: number;
  readonly onNote: (text: string) => void;
}

/** What Redis has of a corpus. */
export interface QueueState {
  /** Of the queue, as bull-board shows it. */
  readonly name: string;
  readonly paused: boolean;
  /** Jobs by their state. */
  readonly counts: Readonly<Record<string, number>>;
  /** Shards that were given up, with the reason. */
  readonly failed: ReadonlyMap<number, string>;
}

/** Looks at a corpus's queue, and changes it as asked. @throws FunasrError  there is no Redis */
export async function inspectQueue(
  directory: CorpusDirectory,
  { queue: url, pause, resume, first = 0, onNote }: QueueControl,
): Promise<QueueState> {
  const connection = await connectRedis(url, onNote);
  const queue = openQueue(directory, connection);
  try {
    if (pause) await queue.pause();
    if (resume) await queue.resume();
    if (first > 0)
      for (const job of await queue.getWaiting(-first, -1))
        await job.changePriority({ priority: 0, lifo: true });
    const rounds = await directory.rounds();
    const done = await directory.doneShards(rounds);
    const open = directory.shards.filter(({ shard }) => !done.has(shard));
    const failed = await failedJobs(queue, new Map(open.map(({ shard }) => [shard, rounds.get(shard) ?? 0])));
    const counts = await queue.getJobCounts("wait", "active", "delayed", "prioritized", "failed");
    return { name: queue.name, paused: await queue.isPaused(), counts, failed: reasonsOf(failed) };
  } finally {
    await queue.close();
    connection.disconnect();
  }
}
