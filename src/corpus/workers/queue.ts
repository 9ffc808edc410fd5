import { type Job, Queue, WaitingError, Worker } from "bullmq";
import { Redis } from "ioredis";
import { FunasrError, errorCode, oneLine } from "../../errors.js";
import { reason } from "../../json.js";
import { type CorpusDirectory, numbered } from "../directory.js";
import { type Failure, recordGivenUp } from "./given-up.js";
import {
  type DoShard,
  SOURCE_DEFAULTS,
  type ShardSource,
  type SourceOptions,
  StopWorker,
  pause,
} from "./source.js";

/** What a job of the queue is about. */
interface ShardJob {
  readonly shard: number;
  readonly round: number;
}

export interface QueueOptions extends SourceOptions {
  /** Of Redis: redis:// or rediss://. */
  readonly url: string;
  /** How long a job is another worker's after its worker is silent, ms. Default: 30,000. */
  readonly lockMs?: number;
  /** Pause between looks at what is done, ms. Default: 5,000. */
  readonly pollMs?: number;
}

const LOCK_MS = 30_000;
const POLL_MS = 5000;
/** A killed worker is no fault of its shard: the engine's process is apart, and counts what ends it. */
const STALLS = 1000;
const CLOSE_MS = 5000;
const REPEAT_NOTE_MS = 60_000;

/** A corpus has a queue of its own. */
export function queueName({ manifest }: CorpusDirectory): string {
  return `corpus-${manifest.id.slice(0, 16)}`;
}

function jobName({ shard, round }: ShardJob): string {
  return `shard-${numbered(shard)}-${round}`; // BullMQ takes no number and no colon
}

/**
 * A connection to Redis, which is made again whenever it is lost.
 * @throws FunasrError  there is no Redis now
 */
export async function connectRedis(url: string, onNote: (text: string) => void): Promise<Redis> {
  const client = new Redis(url, { maxRetriesPerRequest: null, lazyConnect: true });
  const place = placeOf(url);
  let up = false;
  let last: Error | undefined;
  client.on("error", (error: Error) => {
    last = error;
    if (up) onNote(`the connection to ${place} is lost (${errorText(error)}); it is tried again`);
    up = false;
  });
  client.on("reconnecting", () => {
    if (up) onNote(`the connection to ${place} is lost; it is tried again`);
    up = false;
  });
  client.on("ready", () => (up = true));
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.disconnect();
    const advice = "start redis-server, or correct --queue";
    throw new FunasrError(`${place}: expected a Redis server, got ${errorText(last ?? error)}; ${advice}`);
  }
}

/** The server of a URL, without a password. */
function placeOf(url: string): string {
  return URL.canParse(url) ? `redis://${new URL(url).host}` : oneLine(url);
}

function errorText(error: unknown): string {
  return errorCode(error) ?? (oneLine(reason(error)) || "no answer");
}

/** The queue of a corpus. */
export function openQueue(directory: CorpusDirectory, connection: Redis): Queue<ShardJob> {
  return new Queue<ShardJob>(queueName(directory), { connection, skipVersionCheck: true });
}

/**
 * Shards by BullMQ on Redis, which may lose everything: what is done stands in the corpus's
 * directory, and workers add what is not done and not queued.
 */
export class RedisQueue implements ShardSource {
  readonly #said = new Map<string, number>();
  /** The rounds of shards that were recorded as given up. */
  readonly #recorded = new Map<number, number>();

  constructor(private readonly options: QueueOptions) {}

  async run(doShard: DoShard, signal: AbortSignal): Promise<ReadonlyMap<number, string>> {
    const { directory, url, lockMs = LOCK_MS, pollMs = POLL_MS } = this.options;
    const connection = await connectRedis(url, (text) => this.#note(text));
    const queue = openQueue(directory, connection);
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    let fault: { readonly why: unknown } | undefined;
    const worker = new Worker<ShardJob>(
      queue.name,
      async (job, token) => {
        try {
          await this.#job(job, doShard, either);
        } catch (error) {
          if (error instanceof StopWorker) fault = { why: error.why };
          if (error instanceof StopWorker) ended.abort();
          if (!either.aborted) throw error;
          await job.moveToWait(token);
          throw new WaitingError();
        }
      },
      {
        connection,
        lockDuration: lockMs,
        stalledInterval: lockMs,
        maxStalledCount: STALLS,
        removeOnComplete: { count: 0 },
        skipVersionCheck: true,
      },
    );
    queue.on("error", (error) => this.#error(error));
    worker.on("error", (error) => this.#error(error));
    try {
      let failed = new Map<number, string>();
      while (!either.aborted) {
        const open = await this.#reconcile(queue);
        if (open) failed = open.failed;
        if (open?.left === 0) break;
        await pause(pollMs, either);
      }
      if (fault) throw fault.why;
      return failed;
    } finally {
      await this.#close(worker, queue, connection);
    }
  }

  async #job(job: Job<ShardJob>, doShard: DoShard, signal: AbortSignal): Promise<void> {
    const { directory } = this.options;
    const { shard: at, round } = job.data;
    const rounds = await directory.rounds();
    const shard = directory.shards.at(at);
    if (!shard || round !== (rounds.get(at) ?? 0) || (await directory.done(shard, round))) return;
    await doShard({ shard, round }, signal);
  }

  /**
   * Queues what is not done and not known to Redis.
   * @returns  how many shards may still be done, and those that were given up; undefined where Redis
   *           refuses
   */
  async #reconcile(
    queue: Queue<ShardJob>,
  ): Promise<{ left: number; failed: Map<number, string> } | undefined> {
    const {
      directory,
      attempts = SOURCE_DEFAULTS.attempts,
      backoffMs = SOURCE_DEFAULTS.backoffMs,
    } = this.options;
    const rounds = await directory.rounds();
    const done = await directory.doneShards(rounds);
    const open = directory.shards
      .filter(({ shard }) => !done.has(shard))
      .map(({ shard }): ShardJob => ({ shard, round: rounds.get(shard) ?? 0 }));
    if (open.length === 0) return { left: 0, failed: new Map() };
    try {
      const current = new Map(open.map(({ shard, round }) => [shard, round]));
      await removeOutdated(queue, current);
      const failed = await failedJobs(queue, current);
      await this.#record(failed, rounds);
      const counts = await queue.getJobCounts("wait", "active", "delayed", "prioritized");
      const known = failed.size + Object.values(counts).reduce((sum, count) => sum + count, 0);
      const backoff = { type: "exponential", delay: backoffMs };
      if (known < open.length)
        await queue.addBulk(
          open.map((data) => ({ name: "shard", data, opts: { jobId: jobName(data), attempts, backoff } })),
        );
      return { left: open.length - failed.size, failed: reasonsOf(failed) };
    } catch (error) {
      this.#error(error);
      return undefined;
    }
  }

  /** What Redis gave up stands in the directory too, for status and retry. */
  async #record(failed: ReadonlyMap<number, Failure>, rounds: ReadonlyMap<number, number>): Promise<void> {
    const { directory, onNote } = this.options;
    for (const [at, failure] of failed) {
      const round = rounds.get(at) ?? 0;
      if (this.#recorded.get(at) === round) continue;
      await recordGivenUp(directory, { shard: directory.shards[at], round }, failure).then(
        () => this.#recorded.set(at, round),
        (error: unknown) => onNote?.(reason(error)),
      );
    }
  }

  async #close(worker: Worker<ShardJob>, queue: Queue<ShardJob>, connection: Redis): Promise<void> {
    const closed = Promise.allSettled([worker.close(), queue.close()]);
    const silent = new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    await Promise.race([closed, silent]); // a Redis that is gone does not answer
    connection.disconnect();
    void worker.close(true).catch(() => undefined);
  }

  #error(error: unknown): void {
    const text = errorText(error);
    if (/^(ECONN|ETIMEDOUT|EPIPE|Connection is closed)/.test(text)) return; // the connection reports it
    this.#note(/OOM/.test(text) ? `Redis is out of memory; it is tried again: ${text}` : `Redis: ${text}`);
  }

  /** A line, once a minute. */
  #note(text: string): void {
    const now = performance.now();
    if (now - (this.#said.get(text) ?? -Infinity) < REPEAT_NOTE_MS) return;
    this.#said.set(text, now);
    this.options.onNote?.(text);
  }
}

/**
 * Shards that were given up in their round.
 * @param open  rounds of the shards that are not done
 */
export async function failedJobs(
  queue: Queue<ShardJob>,
  open: ReadonlyMap<number, number>,
): Promise<Map<number, Failure>> {
  const failed = new Map<number, Failure>();
  for (const { data, failedReason: why, attemptsMade: failures } of await queue.getFailed())
    if (open.get(data.shard) === data.round) failed.set(data.shard, { failures, why });
  return failed;
}

/** Removes failed jobs of other rounds, and of shards that are done: their names are free then. */
async function removeOutdated(queue: Queue<ShardJob>, open: ReadonlyMap<number, number>): Promise<void> {
  for (const job of await queue.getFailed())
    if (open.get(job.data.shard) !== job.data.round) await job.remove().catch(() => undefined); // by another worker meanwhile
}

/** The reasons why shards were given up. */
export function reasonsOf(failed: ReadonlyMap<number, Failure>): Map<number, string> {
  return new Map([...failed].map(([shard, { why }]) => [shard, why]));
}
