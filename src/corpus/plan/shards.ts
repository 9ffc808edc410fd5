import { type Hash, createHash } from "node:crypto";
import { type WriteStream, createWriteStream } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { naming } from "../../node/write-error.js";
import { type Shard, numbered } from "../directory.js";
import { type Item, line } from "../item.js";
import type { NewItem } from "./found.js";

/** Length of audio whose length is not known, s. */
const UNKNOWN_SECONDS = 10;
/** A last part that is shorter is joined to the one before it, of the length of a part. */
const LEAST_REST = 0.25;

/** The items of an utterance: one, or the parts of a whole file that is longer than `cutSeconds`. */
export function piecesOf(item: NewItem, index: number, cutSeconds: number): Item[] {
  const { seconds = 0, start, end, member } = item;
  const parts = Math.max(1, Math.ceil(seconds / cutSeconds - LEAST_REST));
  if (parts === 1 || start !== undefined || end !== undefined || member) return [{ index, ...item }];
  return Array.from({ length: parts }, (_, part): Item => {
    const [from, to] = [part * cutSeconds, part === parts - 1 ? undefined : (part + 1) * cutSeconds];
    const piece = { part, parts, from, ...(to !== undefined && { to }) };
    return { index, ...item, seconds: (to ?? seconds) - from, piece };
  });
}

const FLUSH = 1 << 18; // characters

interface OpenShard {
  readonly stream: WriteStream;
  readonly hash: Hash;
  items: number;
  seconds: number;
  text: string;
}

/** Writes items to shards of about `shardSeconds`; one item is in memory. */
export class ShardWriter {
  readonly shards: Shard[] = [];
  #open: OpenShard | undefined;
  #failure: unknown;

  constructor(
    private readonly directory: string,
    private readonly shardSeconds: number,
  ) {}

  /** @throws WriteError  the system refused it */
  async add(item: Item): Promise<void> {
    const seconds = item.seconds ?? UNKNOWN_SECONDS;
    if (this.#open && this.#open.seconds + seconds / 2 > this.shardSeconds) await this.end();
    this.#open ??= this.#begin();
    this.#open.items++;
    this.#open.seconds += seconds;
    this.#open.text += line(item);
    if (this.#open.text.length > FLUSH) await this.#flush();
  }

  /** Ends the open shard. */
  async end(): Promise<void> {
    if (!this.#open) return;
    await this.#flush();
    const { stream, hash, items, seconds } = this.#open;
    this.#open = undefined;
    await naming(String(stream.path), async () => {
      stream.end();
      await once(stream, "close");
      if (this.#failure !== undefined) throw this.#failure as Error;
    });
    const rounded = Math.round(seconds * 1000) / 1000;
    this.shards.push({ shard: this.shards.length, items, seconds: rounded, sha256: hash.digest("hex") });
  }

  #begin(): OpenShard {
    const file = join(this.directory, `${numbered(this.shards.length)}.jsonl`);
    const stream = createWriteStream(file, { flags: "wx" });
    stream.on("error", (error) => (this.#failure = error));
    return { stream, hash: createHash("sha256"), items: 0, seconds: 0, text: "" };
  }

  async #flush(): Promise<void> {
    const { stream, hash, text } = this.#open!;
    this.#open!.text = "";
    hash.update(text);
    await naming(String(stream.path), async () => {
      if (!stream.write(text) && this.#failure === undefined)
        await Promise.race([once(stream, "drain"), once(stream, "close")]);
      if (this.#failure !== undefined) throw this.#failure as Error;
    });
  }
}
