import type { CorpusDirectory, Shard } from "./directory.js";
import type { FailureKind } from "./item.js";
import { type Cost, readCosts } from "./workers/costs.js";
import { openShards } from "./workers/given-up.js";

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
    /** Tries of shards beyond their first, those that a kill ended included. */
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

const RECENT_MS = 30 * 60_000;

/** How far a corpus is, by the marks and costs in its directory; results are not read. */
export async function corpusStatus(directory: CorpusDirectory): Promise<CorpusStatus> {
  const { manifest, shards } = directory;
  const rounds = await directory.rounds();
  const done = await directory.doneShards(rounds);
  const failures: Partial<Record<FailureKind, number>> = {};
  let records = 0;
  for (const mark of done.values()) {
    records += mark.records;
    for (const [kind, number] of Object.entries(mark.failures) as [FailureKind, number][])
      failures[kind] = (failures[kind] ?? 0) + number;
  }
  const left = shards.filter(({ shard }) => !done.has(shard));
  const { held, failed } = await openShards(directory, left, rounds);
  const costs = await costsOf(directory);
  const hours = (of: readonly Shard[]): number => of.reduce((sum, { seconds }) => sum + seconds, 0) / 3600;
  const speed = speedOf(costs.all);
  return {
    id: manifest.id,
    model: manifest.model.name,
    version: manifest.version,
    utterances: manifest.utterances,
    shards: { all: shards.length, done: done.size, held, failed: failed.size },
    hours: { all: hours(shards), done: hours(shards) - hours(left) },
    records,
    failures,
    costs: costs.sum,
    ...(speed !== undefined && { speed, secondsLeft: Math.round((3600 * hours(left)) / speed) }),
    failed: [...failed].map(([shard, failure]) => ({ shard, ...failure })),
  };
}

/** The costs of all workers. */
async function costsOf(
  directory: CorpusDirectory,
): Promise<{ all: readonly Cost[]; sum: CorpusStatus["costs"] }> {
  const { workers, tries, costs: all } = await readCosts(directory.costsPath);
  const sum = (of: (cost: Cost) => number): number => all.reduce((total, cost) => total + of(cost), 0);
  return {
    all,
    sum: {
      audioHours: sum(({ audioSeconds }) => audioSeconds) / 3600,
      gpuHours: sum(({ gpuSeconds }) => gpuSeconds) / 3600,
      wallHours: sum(({ wallSeconds }) => wallSeconds) / 3600,
      retries: [...tries.values()].reduce((total, count) => total + count - 1, 0),
      workers,
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
