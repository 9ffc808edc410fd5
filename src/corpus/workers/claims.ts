import { randomUUID } from "node:crypto";
import { link, open, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "../../errors.js";
import { isObject, reason } from "../../json.js";
import { makeDirectory } from "../../node/make-directory.js";
import { type ProcessOwner, isAlive, thisProcess } from "../../node/process-owner.js";
import { writeError } from "../../node/write-error.js";
import { type Shard, names, parsed } from "../directory.js";
import {
  type DoShard,
  type Handed,
  SOURCE_DEFAULTS,
  type ShardSource,
  type SourceOptions,
  StopWorker,
  pause,
} from "./source.js";

/** A claim file: `claims/SHARD.G`. The highest G counts, and a new one is made by one worker alone. */
export interface Claim {
  readonly worker: string;
  /** Of this claim alone: where claims were removed, a later one may have the same name. */
  readonly nonce: string;
  readonly owner: ProcessOwner;
  readonly round: number;
  /** "free": given back. */
  readonly state: "held" | "free" | "failed";
  /** How often it failed in this round. */
  readonly failures: number;
  readonly why?: string;
  /** Earliest time of the next try, ms since 1970. */
  readonly notBefore?: number;
}

export interface ClaimsOptions extends SourceOptions {
  /** A claim whose worker does not touch it for so long is taken over, ms. Default: 60,000. */
  readonly leaseMs?: number;
  /** Pause between looks while others hold all that is left, ms. Default: a tenth of the lease, 5,000 at most. */
  readonly pollMs?: number;
}

export const LEASE_MS = 60_000;

/**
 * Claim files on a shared directory. A worker takes a shard by making the next generation of its
 * claim, which one worker alone can; so a stale claim is never removed, and a worker that was frozen
 * finds that there is a higher one.
 */
export class Claims implements ShardSource {
  readonly #path: string;
  /** Claims that others hold: how they looked, and since when. */
  readonly #seen = new Map<string, { readonly mark: string; readonly at: number }>();
  readonly #failed = new Map<number, string>();
  readonly #leaseMs: number;
  readonly #id = randomUUID();
  #owner: ProcessOwner | undefined;

  constructor(private readonly options: ClaimsOptions) {
    this.#path = options.directory.claimsPath;
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
  }

  async run(doShard: DoShard, signal: AbortSignal): Promise<ReadonlyMap<number, string>> {
    const { pollMs = Math.min(5000, this.#leaseMs / 10) } = this.options;
    await makeDirectory(this.#path);
    this.#owner = await thisProcess();
    while (!signal.aborted) {
      const taken = await this.#next();
      if (taken === "none") break;
      if (taken === "wait") await pause(pollMs, signal);
      else await this.#work(taken, doShard, signal);
    }
    return this.#failed;
  }

  /** A shard that this worker holds now; "wait": others hold all that is left. */
  async #next(): Promise<Held | "none" | "wait"> {
    const { directory } = this.options;
    const rounds = await directory.rounds();
    const done = await directory.doneShards(rounds);
    const latest = await latestClaims(this.#path);
    let left = false;
    for (const shard of directory.shards) {
      if (done.has(shard.shard)) continue;
      const round = rounds.get(shard.shard) ?? 0;
      const state = await this.#standing(shard, latest.get(shard.shard) ?? 0, round);
      if (state === "given up") continue;
      left = true;
      if (state === "held") continue;
      const held = await this.#take({ shard, round }, latest.get(shard.shard) ?? 0, state);
      if (!held) continue;
      if (!(await directory.done(shard, round))) return held;
      await this.#drop(held);
    }
    return left ? "wait" : "none";
  }

  /** Failures of a shard that may be taken; or why it may not. */
  async #standing(
    { shard }: Shard,
    generation: number,
    round: number,
  ): Promise<number | "held" | "given up"> {
    const { attempts = SOURCE_DEFAULTS.attempts } = this.options;
    if (generation === 0) return 0;
    const file = this.#file(shard, generation);
    const claim = await readClaim(file);
    if (!claim || claim.state === "held")
      return (await this.#isStale(file, claim)) ? (claim?.round === round ? claim.failures : 0) : "held";
    if (claim.round !== round) return 0;
    if (claim.failures >= attempts) {
      this.#failed.set(shard, claim.why ?? "");
      return "given up";
    }
    return claim.state === "free" || Date.now() >= (claim.notBefore ?? 0) ? claim.failures : "held";
  }

  /** Whether the holder is dead, or has not touched its claim for the lease while this worker watched. */
  async #isStale(file: string, claim: Claim | undefined): Promise<boolean> {
    if (claim && (await isAlive(claim.owner)) === false) return true;
    const mark = await stat(file).then(
      ({ mtimeMs }) => `${mtimeMs} ${claim?.worker}`,
      () => "",
    );
    const seen = this.#seen.get(file);
    if (seen?.mark !== mark) this.#seen.set(file, { mark, at: performance.now() });
    return seen?.mark === mark && performance.now() - seen.at > this.#leaseMs;
  }

  async #take(handed: Handed, before: number, failures: number): Promise<Held | undefined> {
    const generation = before + 1;
    const claim: Claim = {
      worker: this.options.worker,
      nonce: randomUUID(),
      owner: this.#owner!,
      round: handed.round,
      state: "held",
      failures,
    };
    const file = this.#file(handed.shard.shard, generation);
    if (!(await this.#create(file, claim))) return undefined;
    return { ...handed, file, next: this.#file(handed.shard.shard, generation + 1), generation, claim };
  }

  /** Makes a file with its content, unless there is one. */
  async #create(file: string, claim: Claim): Promise<boolean> {
    const beside = join(this.#path, `.${this.#id}`);
    try {
      await writeFile(beside, JSON.stringify(claim));
      await link(beside, file).catch(async (error: unknown) => {
        if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(errorCode(error) ?? ""))
          throw error;
        const handle = await open(file, "wx"); // no hard links there
        await handle.writeFile(JSON.stringify(claim)).finally(() => handle.close());
      });
      return true;
    } catch (error) {
      if (errorCode(error) === "EEXIST") return false;
      throw writeError(file, error);
    } finally {
      await rm(beside, { force: true });
    }
  }

  async #work(held: Held, doShard: DoShard, signal: AbortSignal): Promise<void> {
    const lost = new AbortController();
    const beat = setInterval(() => {
      void this.#touch(held).then((mine) => {
        if (!mine) lost.abort(new Error("another worker has taken the shard over"));
      });
    }, this.#leaseMs / 4);
    try {
      await doShard(held, AbortSignal.any([signal, lost.signal]));
      await this.#drop(held);
    } catch (error) {
      if (lost.signal.aborted) return; // it is another's
      if (error instanceof StopWorker || signal.aborted) await this.#leave(held, { state: "free" });
      if (error instanceof StopWorker) throw error.why;
      if (!signal.aborted) await this.#fail(held, reason(error));
    } finally {
      clearInterval(beat);
    }
  }

  async #fail(held: Held, why: string): Promise<void> {
    const {
      attempts = SOURCE_DEFAULTS.attempts,
      backoffMs = SOURCE_DEFAULTS.backoffMs,
      onNote,
    } = this.options;
    const failures = held.claim.failures + 1;
    const notBefore = Date.now() + backoffMs * 2 ** (failures - 1);
    onNote?.(`shard ${held.shard.shard} failed, ${failures} of ${attempts}: ${why}`);
    await this.#leave(held, { state: "failed", failures, why, notBefore });
  }

  /** Keeps the claim alive. @returns false where it is another's */
  async #touch(held: Held): Promise<boolean> {
    if (!(await this.#isOwn(held))) return false;
    const now = new Date();
    await utimes(held.file, now, now).catch(() => undefined);
    return true;
  }

  /** A disk that does not answer takes no claim away. */
  async #isOwn({ file, next, claim }: Held): Promise<boolean> {
    const isTaken = await stat(next).then(
      () => true,
      () => false,
    );
    if (isTaken) return false;
    const found = await readFile(file, "utf8").catch((error: unknown) => {
      return errorCode(error) === "ENOENT" ? "" : undefined;
    });
    if (found === undefined) return true;
    const there = parsed(found);
    return isObject(there) && there["nonce"] === claim.nonce;
  }

  async #leave(held: Held, change: Partial<Claim>): Promise<void> {
    if (!(await this.#isOwn(held))) return;
    const beside = join(this.#path, `.${this.#id}`);
    await writeFile(beside, JSON.stringify({ ...held.claim, ...change }))
      .then(() => rename(beside, held.file))
      .catch(() => rm(beside, { force: true })); // a full disk: the lease ends by itself
  }

  /** Removes the claims of a shard that is done, the one that counts last. */
  async #drop(held: Held): Promise<void> {
    if (!(await this.#isOwn(held))) return;
    for (let g = 1; g <= held.generation; g++) await rm(this.#file(held.shard.shard, g), { force: true });
  }

  #file(shard: number, generation: number): string {
    return this.options.directory.claimPath(shard, generation);
  }
}

interface Held extends Handed {
  readonly file: string;
  /** The claim that another makes who takes over. */
  readonly next: string;
  readonly generation: number;
  readonly claim: Claim;
}

/** The highest generation of each shard's claims. */
export async function latestClaims(path: string): Promise<Map<number, number>> {
  const latest = new Map<number, number>();
  for (const name of await names(path)) {
    const [, shard, generation] = /^(\d+)\.(\d+)$/.exec(name) ?? [];
    if (generation === undefined) continue;
    latest.set(Number(shard), Math.max(latest.get(Number(shard)) ?? 0, Number(generation)));
  }
  return latest;
}

/** What a claim file says; undefined where it is gone or not yet written. */
export async function readClaim(file: string): Promise<Claim | undefined> {
  const found = parsed(await readFile(file, "utf8").catch(() => ""));
  return isObject(found) && isObject(found["owner"]) ? (found as unknown as Claim) : undefined;
}
