import { readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { isObject } from "../../json.js";
import { writeFileAtomic } from "../../node/files.js";
import { makeDirectory } from "../../node/make-directory.js";
import { type CorpusDirectory, type Shard, inTurn, names, parsed } from "../directory.js";
import { latestClaims, readClaim } from "./claims.js";
import type { Handed } from "./source.js";

/** Why a shard was given up, or waits for its next try. */
export interface Failure {
  /** How often it failed in its round. */
  readonly failures: number;
  readonly why: string;
}

/** Records that a shard was given up, where no claim does. @throws WriteError */
export async function recordGivenUp(
  directory: CorpusDirectory,
  { shard, round }: Handed,
  { failures, why }: Failure,
): Promise<void> {
  const file = directory.failedPath(shard.shard, round);
  await makeDirectory(dirname(file));
  await writeFileAtomic(file, [Buffer.from(`${JSON.stringify({ failures, why })}\n`)]);
}

/** A shard that is tried again is not given up. */
export async function forgetGivenUp(directory: CorpusDirectory, { shard, round }: Handed): Promise<void> {
  await rm(directory.failedPath(shard.shard, round), { force: true });
}

/** What stands of open shards in claims, and in the records of those that were given up. */
export interface OpenShards {
  /** Claimed by a worker, stale claims included. */
  readonly held: number;
  /** Failed at their last try in their round, whichever way they were handed out. */
  readonly failed: ReadonlyMap<number, Failure>;
}

/**
 * Looks at shards that are not done.
 * @param rounds  of shards; see CorpusDirectory.rounds
 */
export async function openShards(
  directory: CorpusDirectory,
  open: readonly Shard[],
  rounds: ReadonlyMap<number, number>,
): Promise<OpenShards> {
  const roundOf = (shard: number): number => rounds.get(shard) ?? 0;
  const records = new Set(await names(dirname(directory.failedPath(0, 0))));
  const latest = await latestClaims(directory.claimsPath);
  const failed = new Map<number, Failure>();
  let held = 0;
  await inTurn(open, async ({ shard }) => {
    const file = directory.failedPath(shard, roundOf(shard));
    const record = records.has(file.slice(dirname(file).length + 1)) && (await readFailure(file));
    const generation = latest.get(shard);
    const claim = generation && (await readClaim(directory.claimPath(shard, generation)));
    const own = claim && claim.round === roundOf(shard) ? claim : undefined;
    if (own?.state === "held") held++;
    else if (own?.state === "failed") failed.set(shard, { failures: own.failures, why: own.why ?? "" });
    else if (record) failed.set(shard, record);
  });
  return { held, failed: new Map([...failed].sort(([a], [b]) => a - b)) };
}

async function readFailure(file: string): Promise<Failure | undefined> {
  const found = parsed(await readFile(file, "utf8").catch(() => ""));
  if (!isObject(found)) return undefined;
  const { failures, why } = found;
  return typeof failures === "number" && typeof why === "string" ? { failures, why } : undefined;
}
