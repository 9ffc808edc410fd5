import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "../node/make-directory.js";
import { naming } from "../node/write-error.js";
import { type CorpusDirectory, numbered } from "./directory.js";
import { corpusError } from "./errors.js";
import type { FailureKind } from "./item.js";
import { shardTexts } from "./merge/read.js";
import { openShards } from "./workers/given-up.js";

/** What is to be done again. */
export interface RetryOptions {
  /** These shards; absent: those below. */
  readonly shards?: readonly number[];
  /** Shards with an utterance that failed so; absent: of any kind. */
  readonly kinds?: readonly FailureKind[];
}

/**
 * Lets shards be done again: those that were given up, whichever way they were handed out, those
 * whose result was changed, and those with utterances that failed. Each gets a new round: what a worker of the round before
 * writes late does not count.
 * @returns  the shards
 * @throws CorpusError  `shards` has a number that the plan has not
 */
export async function retryCorpus(directory: CorpusDirectory, options: RetryOptions = {}): Promise<number[]> {
  const { kinds } = options;
  const count = directory.shards.length;
  const strange = options.shards?.find((shard) => shard >= count);
  if (strange !== undefined)
    throw corpusError(directory.path, "shard", `a number from 0 to ${count - 1}`, String(strange));
  const rounds = await directory.rounds();
  const chosen = new Set(options.shards);
  if (!options.shards) {
    const done = await directory.doneShards(rounds);
    for await (const found of shardTexts(directory)) {
      const { shard } = found.shard;
      const failed = Object.keys(done.get(shard)?.failures ?? {}) as FailureKind[];
      const isChanged = done.has(shard) && "missing" in found;
      if (isChanged || failed.some((kind) => kinds?.includes(kind) ?? true)) chosen.add(shard);
    }
    const open = directory.shards.filter(({ shard }) => !done.has(shard));
    for (const shard of (await openShards(directory, open, rounds)).failed.keys()) chosen.add(shard);
  }
  await makeDirectory(directory.retriesPath);
  const all = [...chosen].sort((a, b) => a - b);
  for (const shard of all) {
    const round = rounds.get(shard) ?? 0;
    const mark = join(directory.retriesPath, `${numbered(shard)}-${round + 1}`);
    await naming(mark, () => writeFile(mark, ""));
    await rm(directory.donePath(shard, round), { force: true });
    await rm(directory.resultPath(shard, round), { force: true });
    await rm(directory.failedPath(shard, round), { force: true });
  }
  return all;
}
