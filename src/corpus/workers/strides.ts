import { reason } from "../../json.js";
import { recordGivenUp } from "./given-up.js";
import {
  type DoShard,
  type Handed,
  SOURCE_DEFAULTS,
  type ShardSource,
  type SourceOptions,
  StopWorker,
  pause,
} from "./source.js";

/** Shards K, K + N, K + 2N and so on, for schedulers that give each worker a number. */
export class Strides implements ShardSource {
  constructor(
    private readonly options: SourceOptions,
    /** Number of the worker from 0, and of all; absent: it does shard K alone. */
    private readonly place: { readonly index: number; readonly of?: number | undefined },
  ) {}

  async run(doShard: DoShard, signal: AbortSignal): Promise<ReadonlyMap<number, string>> {
    const {
      directory,
      attempts = SOURCE_DEFAULTS.attempts,
      backoffMs = SOURCE_DEFAULTS.backoffMs,
      onNote,
    } = this.options;
    const { index, of = Infinity } = this.place;
    const failed = new Map<number, string>();
    const giveUp = async (handed: Handed, failures: number, why: string): Promise<void> => {
      failed.set(handed.shard.shard, why);
      await recordGivenUp(directory, handed, { failures, why }).catch((error: unknown) =>
        onNote?.(reason(error)),
      );
    };
    const rounds = await directory.rounds();
    for (let at = index; at < directory.shards.length && !signal.aborted; at += of) {
      const shard = directory.shards[at];
      const round = rounds.get(at) ?? 0;
      for (let attempt = 1; !signal.aborted; attempt++) {
        try {
          if (!(await directory.done(shard, round))) await doShard({ shard, round }, signal);
          break;
        } catch (error) {
          if (error instanceof StopWorker) throw error.why;
          if (signal.aborted) break;
          if (attempt < attempts) await pause(backoffMs * 2 ** (attempt - 1), signal);
          else {
            await giveUp({ shard, round }, attempt, reason(error));
            break;
          }
        }
      }
    }
    return failed;
  }
}
