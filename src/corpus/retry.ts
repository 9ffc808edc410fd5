import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "../node/make-directory.js";
import { naming } from "../node/write-error.js";
import { type CorpusDirectory, numbered } from "./directory.js";
import type { FailureKind } from "./item.js";
import { shardTexts } from "./merge/read.js";
import { inTurn } from "./status.js";
import { latestClaims, readClaim } from "./workers/claims.js";

/** What is to be done again. */
export interface RetryOptions {
  /** These shards; absent: those below. */
  readonly shards?: readonly number[];
  /** Shards with an utterance that failed so; absent: of any kind. */
  readonly kinds?: readonly FailureKind[];
}

/**
 * Lets shards be done again: those that were given up, those whose result is gone or was changed,
 * and those with utterances that failed. Each gets a new round: what a worker of the round before
 * writes late does not count.
 * @returns  the shards
 */
export async function retryCorpus(directory: CorpusDirectory, options: RetryOptions = {}): Promise<number[]> {
  const { kinds } = options;
  const rounds = await directory.rounds();
  const chosen = new Set(options.shards);
  if (!options.shards) {
    for await (const found of shardTexts(directory)) {
      const { shard } = found;
      const done = await directory.done(shard, rounds.get(shard.shard) ?? 0);
      const failed = Object.keys(done?.failures ?? {}) as FailureKind[];
      if (done && ("missing" in found || failed.some((kind) => kinds?.includes(kind) ?? true)))
        chosen.add(shard.shard);
    }
    for (const shard of await givenUp(directory)) chosen.add(shard);
  }
  await makeDirectory(directory.retriesPath);
  const all = [...chosen].filter((shard) => shard < directory.shards.length).sort((a, b) => a - b);
  for (const shard of all) {
    const round = rounds.get(shard) ?? 0;
    const mark = join(directory.retriesPath, `${numbered(shard)}-${round + 1}`);
    await naming(mark, () => writeFile(mark, ""));
    await rm(directory.donePath(shard, round), { force: true });
    await rm(directory.resultPath(shard, round), { force: true });
  }
  return all;
}

async function givenUp(directory: CorpusDirectory): Promise<number[]> {
  const latest = [...(await latestClaims(directory.claimsPath))];
  const claims = await inTurn(latest, ([shard, generation]) =>
    readClaim(join(directory.claimsPath, `${numbered(shard)}.${generation}`)),
  );
  return latest.filter((_, i) => claims[i]?.state === "failed").map(([shard]) => shard);
}
