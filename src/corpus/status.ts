import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isObject } from "../json.js";
import { type CorpusDirectory, type Done, type Shard, names, numbered, parsed } from "./directory.js";
import type { FailureKind } from "./item.js";
import { latestClaims, readClaim } from "./workers/claims.js";
import type { Cost } from "./workers/costs.js";

/** How far a corpus is. */
export interface CorpusStatus {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly utterances: number;
  readonly shards: {
    readonly all: number;
    readonly done: number;
    /** Claimed by a worker, stale claims included. */
    readonly held: number;
    /** Failed at their last try, and not yet done. */
    readonly failed: number;
  };
  readonly hours: { readonly all: number; readonly done: number };
  /** Utterances with a result. */
  readonly records: number;
  /** Utterances without text, by kind. */
  readonly failures: Readonly<Partial<Record<FailureKind, number>>>;
  readonly costs: {
    readonly audioHours: number;
    readonly gpuHours: number;
    readonly wallHours: number;
    /** Tries of shards beyond the one that counts. */
    readonly retries: number;
    readonly workers: number;
    /** Kinds of devices; results of several kinds may differ in their last digits. */
    readonly devices: readonly string[];
  };
  /** Seconds of audio a second, of all workers in the last 30 minutes of work; absent: none is done. */
  readonly speed?: number;
  /** Seconds until all is done at that speed. */
  readonly secondsLeft?: number;
  /** Shards that failed, with the reason. */
  readonly failed: readonly { readonly shard: number; readonly failures: number; readonly why: string }[];
}

const AT_ONCE = 64;
const RECENT_MS = 30 * 60_000;

/** How far a corpus is, by the marks and costs in its directory; results are not read. */
export async function corpusStatus(directory: CorpusDirectory): Promise<CorpusStatus> {
  const { manifest, shards } = directory;
  const rounds = await directory.rounds();
  const marked = await directory.doneShards(rounds);
  const candidates = shards.filter(({ shard }) => marked.has(shard));
  const marks = await inTurn(candidates, (shard) => directory.done(shard, rounds.get(shard.shard) ?? 0));
  const done = new Set(candidates.filter((_, i) => marks[i]).map(({ shard }) => shard));
  const failures: Partial<Record<FailureKind, number>> = {};
  let records = 0;
  for (const mark of marks) {
    records += mark?.records ?? 0;
    for (const [kind, number] of Object.entries(mark?.failures ?? {}) as [FailureKind, number][])
      failures[kind] = (failures[kind] ?? 0) + number;
  }
  const claims = await claimsOf(directory, done, rounds);
  const costs = await costsOf(directory, done);
  const hours = (of: readonly Shard[]): number => of.reduce((sum, { seconds }) => sum + seconds, 0) / 3600;
  const left = shards.filter(({ shard }) => !done.has(shard));
  const speed = speedOf(costs.all);
  return {
    id: manifest.id,
    model: manifest.model.name,
    version: manifest.version,
    utterances: manifest.utterances,
    shards: { all: shards.length, done: done.size, held: claims.held, failed: claims.failed.length },
    hours: { all: hours(shards), done: hours(candidates.filter(({ shard }) => done.has(shard))) },
    records,
    failures,
    costs: costs.sum,
    ...(speed !== undefined && { speed, secondsLeft: Math.round((3600 * hours(left)) / speed) }),
    failed: claims.failed,
  };
}

async function claimsOf(
  directory: CorpusDirectory,
  done: ReadonlySet<number>,
  rounds: ReadonlyMap<number, number>,
): Promise<{ held: number; failed: CorpusStatus["failed"] }> {
  const open = [...(await latestClaims(directory.claimsPath))].filter(([shard]) => !done.has(shard));
  const claims = await inTurn(open, ([shard, generation]) =>
    readClaim(join(directory.claimsPath, `${numbered(shard)}.${generation}`)),
  );
  const failed: { shard: number; failures: number; why: string }[] = [];
  let held = 0;
  for (const [i, claim] of claims.entries()) {
    if (!claim || claim.round !== (rounds.get(open[i][0]) ?? 0)) continue;
    if (claim.state === "held") held++;
    else if (claim.state === "failed")
      failed.push({ shard: open[i][0], failures: claim.failures, why: claim.why ?? "" });
  }
  return { held, failed: failed.sort((a, b) => a.shard - b.shard) };
}

/** The costs of all workers. */
async function costsOf(
  directory: CorpusDirectory,
  done: ReadonlySet<number>,
): Promise<{ all: Cost[]; sum: CorpusStatus["costs"] }> {
  const files = (await names(directory.costsPath)).filter((name) => name.endsWith(".jsonl"));
  const texts = await inTurn(files, (name) =>
    readFile(join(directory.costsPath, name), "utf8").catch(() => ""),
  );
  const all = texts
    .flatMap((text) => text.split("\n").slice(0, -1))
    .map(parsed)
    .filter((cost): cost is Cost => isObject(cost) && typeof cost["at"] === "string");
  const sum = (of: (cost: Cost) => number): number => all.reduce((total, cost) => total + of(cost), 0);
  return {
    all,
    sum: {
      audioHours: sum(({ audioSeconds }) => audioSeconds) / 3600,
      gpuHours: sum(({ gpuSeconds }) => gpuSeconds) / 3600,
      wallHours: sum(({ wallSeconds }) => wallSeconds) / 3600,
      retries: Math.max(0, all.length - done.size),
      workers: files.length,
      devices: [...new Set(all.map(({ device }) => device))].sort(),
    },
  };
}

/** Seconds of audio a second in the last half hour of work. */
function speedOf(costs: readonly Cost[]): number | undefined {
  const ends = costs
    .filter(({ outcome }) => outcome === "done")
    .map((cost) => ({ ...cost, end: Date.parse(cost.at) }));
  if (ends.length === 0) return undefined;
  const last = ends.reduce((most, { end }) => Math.max(most, end), 0);
  const recent = ends.filter(({ end }) => end > last - RECENT_MS);
  const first = recent.reduce(
    (least, { end, wallSeconds }) => Math.min(least, end - wallSeconds * 1000),
    last,
  );
  const audio = recent.reduce((sum, { audioSeconds }) => sum + audioSeconds, 0);
  return last > first && audio > 0 ? (audio * 1000) / (last - first) : undefined;
}

/** Runs a job for each value, a few at once. */
export async function inTurn<T, R>(values: readonly T[], job: (value: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < values.length; i += AT_ONCE)
    results.push(...(await Promise.all(values.slice(i, i + AT_ONCE).map(job))));
  return results;
}

/** A mark of a shard that is done. */
export type { Done };
