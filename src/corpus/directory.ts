import { createHash } from "node:crypto";
import { readFile, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { errorCode } from "../errors.js";
import { isObject } from "../json.js";
import { corpusError } from "./errors.js";
import type { FailureKind, Item } from "./item.js";
import { type Manifest, isManifest } from "./manifest.js";

/** A shard as the index has it. */
export interface Shard {
  readonly shard: number;
  readonly items: number;
  /** As far as they are known. */
  readonly seconds: number;
  /** Of its lines. */
  readonly sha256: string;
}

/** What lies beside a shard's result when it is done. */
export interface Done {
  /** Identity of the plan. */
  readonly corpus: string;
  readonly shard: number;
  /** SHA-256 of the shard's lines, and of the result. */
  readonly input: string;
  readonly output: string;
  readonly bytes: number;
  readonly records: number;
  /** Whether it has parts of files, which the merge joins. */
  readonly pieces: boolean;
  /** Of audio that was heard. */
  readonly seconds: number;
  readonly failures: Readonly<Partial<Record<FailureKind, number>>>;
}

const MANIFEST = "corpus.json";
const INDEX = "shards.jsonl";
const AT_ONCE = 64;

/**
 * A corpus on disk:
 * - `corpus.json`, `shards.jsonl`, `shards/N.jsonl`: the plan, which nothing changes
 * - `results/N.jsonl`, and `done/N.json` once it is whole; `retries/N-R`: the result of round R counts
 * - `claims/N.G`: who works on it; `costs/WORKER.jsonl`: what it took; `failed/N.json`: it was given up
 */
export class CorpusDirectory {
  /** Marks that were read, by their names. */
  readonly #marks = new Map<string, Done>();

  private constructor(
    readonly path: string,
    readonly manifest: Manifest,
    readonly shards: readonly Shard[],
  ) {}

  /** @throws CorpusError  no plan, or one that was changed or cut */
  static async open(path: string): Promise<CorpusDirectory> {
    const manifest = await readManifest(path);
    const index = await readFile(join(path, INDEX), "utf8").catch(() => "");
    if (sha256(index) !== manifest.index)
      throw changed(join(path, INDEX), "the lines that the plan wrote", "others");
    const shards = index
      .split("\n")
      .slice(0, -1)
      .map((text) => JSON.parse(text) as Shard);
    return new CorpusDirectory(resolve(path), manifest, shards);
  }

  /** @throws CorpusError  the plan is another than when it was opened */
  async checkUnchanged(): Promise<void> {
    const { id } = await readManifest(this.path);
    if (id !== this.manifest.id)
      throw changed(join(this.path, MANIFEST), `the plan ${short(this.manifest.id)}`, short(id));
  }

  /** The lines of a shard. @throws CorpusError  they were changed */
  async items(shard: Shard): Promise<Item[]> {
    const file = join(this.path, "shards", `${numbered(shard.shard)}.jsonl`);
    const text = await readFile(file, "utf8").catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") throw changed(file, "the shard that the plan wrote", "no file");
      throw error;
    });
    if (sha256(text) !== shard.sha256) throw changed(file, "the lines that the plan wrote", "others");
    return text
      .split("\n")
      .slice(0, -1)
      .map((each) => JSON.parse(each) as Item);
  }

  resultPath(shard: number, round: number): string {
    return join(this.path, "results", `${nameOf(shard, round)}.jsonl`);
  }

  donePath(shard: number, round: number): string {
    return join(this.path, "done", `${nameOf(shard, round)}.json`);
  }

  get claimsPath(): string {
    return join(this.path, "claims");
  }

  /** The generation G of a shard's claim. */
  claimPath(shard: number, generation: number): string {
    return join(this.claimsPath, `${numbered(shard)}.${generation}`);
  }

  get costsPath(): string {
    return join(this.path, "costs");
  }

  failedPath(shard: number, round: number): string {
    return join(this.path, "failed", `${nameOf(shard, round)}.json`);
  }

  get retriesPath(): string {
    return join(this.path, "retries");
  }

  /** The round of each shard that is to be done again; others are in round 0. */
  async rounds(): Promise<Map<number, number>> {
    const rounds = new Map<number, number>();
    for (const name of await names(this.retriesPath)) {
      const [, shard, round] = /^(\d+)-(\d+)$/.exec(name) ?? [];
      if (round !== undefined)
        rounds.set(Number(shard), Math.max(Number(round), rounds.get(Number(shard)) ?? 0));
    }
    return rounds;
  }

  /** The shards that are done in their round, with their marks. A mark is read once. */
  async doneShards(rounds: ReadonlyMap<number, number>): Promise<Map<number, Done>> {
    const marked = new Set(await names(join(this.path, "done")));
    const results = new Set(await names(join(this.path, "results")));
    const there = this.shards.filter(({ shard }) => {
      const name = nameOf(shard, rounds.get(shard) ?? 0);
      return marked.has(`${name}.json`) && results.has(`${name}.jsonl`);
    });
    const found = await inTurn(there, async (shard) => {
      const round = rounds.get(shard.shard) ?? 0;
      const name = nameOf(shard.shard, round);
      const mark = this.#marks.get(name) ?? (await this.done(shard, round));
      if (mark) this.#marks.set(name, mark);
      return mark;
    });
    return new Map(there.flatMap(({ shard }, i) => (found[i] ? [[shard, found[i]]] : [])));
  }

  /** What a shard's mark says; undefined where it has none of this plan, or no result. */
  async done(shard: Shard, round: number): Promise<Done | undefined> {
    const text = await readFile(this.donePath(shard.shard, round), "utf8").catch(() => "");
    const found = parsed(text);
    if (!isObject(found)) return undefined;
    const { corpus, input } = found;
    if (corpus !== this.manifest.id || input !== shard.sha256) return undefined;
    const result = await stat(this.resultPath(shard.shard, round)).catch(() => undefined);
    return result?.isFile() ? (found as unknown as Done) : undefined;
  }
}

async function readManifest(path: string): Promise<Manifest> {
  const file = join(path, MANIFEST);
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    const code = errorCode(error) ?? "";
    if (!["ENOENT", "ENOTDIR"].includes(code)) throw error;
    throw corpusError(path, "directory", `one that corpus plan made`, `no ${MANIFEST}`, "plan it first");
  });
  const found = parsed(text);
  if (!isManifest(found)) throw changed(file, "the plan that was written", "another, or none");
  return found;
}

/** @throws CorpusError  what the plan wrote was changed */
function changed(file: string, expected: string, got: string): Error {
  return corpusError(file, "content", expected, got, "it was changed since it was planned: plan again");
}

export function numbered(shard: number): string {
  return String(shard).padStart(6, "0");
}

function nameOf(shard: number, round: number): string {
  return round === 0 ? numbered(shard) : `${numbered(shard)}-${round}`;
}

/** Names in a directory, none where it is not there. */
export async function names(path: string): Promise<string[]> {
  return readdir(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  });
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Runs a job for each value, a few at once. */
export async function inTurn<T, R>(values: readonly T[], job: (value: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < values.length; i += AT_ONCE)
    results.push(...(await Promise.all(values.slice(i, i + AT_ONCE).map(job))));
  return results;
}

/** The first characters of an identity, for people. */
export const short = (id: string): string => id.slice(0, 12);

export { INDEX, MANIFEST };
