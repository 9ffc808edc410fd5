import { readFile } from "node:fs/promises";
import { joinTexts } from "../../scripts.js";
import { type CorpusDirectory, type Shard, parsed, sha256 } from "../directory.js";
import { corpusError } from "../errors.js";
import type { ResultRecord } from "../item.js";
import { agreementOf, isRecord } from "../workers/shard-result.js";

/** A shard's result, or the reason why there is none. */
type ShardText = { readonly text: Buffer; readonly pieces: boolean } | { readonly missing: string };

const AT_ONCE = 64;

/** The results of all shards in their order. */
export async function* shardTexts(
  directory: CorpusDirectory,
): AsyncGenerator<ShardText & { readonly shard: Shard }, void, undefined> {
  const rounds = await directory.rounds();
  const waiting: Promise<ShardText & { readonly shard: Shard }>[] = [];
  for (const shard of directory.shards) {
    waiting.push(
      shardText(directory, shard, rounds.get(shard.shard) ?? 0).then((text) => ({ ...text, shard })),
    );
    if (waiting.length >= AT_ONCE) yield await waiting.shift()!;
  }
  for (const text of waiting) yield await text;
}

async function shardText(directory: CorpusDirectory, shard: Shard, round: number): Promise<ShardText> {
  const done = await directory.done(shard, round);
  if (!done) return { missing: "it is not done" };
  const text = await readFile(directory.resultPath(shard.shard, round)).catch(() => undefined);
  if (!text) return { missing: "its result is gone; corpus retry does it again" };
  if (sha256(text) !== done.output) return { missing: "its result was changed; corpus retry does it again" };
  return { text, pieces: done.pieces };
}

/** How a corpus is read. */
export interface ReadCorpusOptions {
  /** Shards that are not done are left out. Default: they are an error. */
  readonly partial?: boolean;
  /** Called with each shard that is left out. */
  readonly onMissing?: (shard: number, why: string) => void;
}

/**
 * Whole results in the order of the corpus: bytes of JSONL where no file was cut, else records.
 * Parts of a file are joined; those whose file is not whole are left out.
 * @throws CorpusError  a shard is not done, without `partial`
 */
export async function* mergedParts(
  directory: CorpusDirectory,
  { partial, onMissing }: ReadCorpusOptions,
): AsyncGenerator<Buffer | ResultRecord[], void, undefined> {
  const missing: string[] = [];
  const joiner = new Joiner();
  for await (const found of shardTexts(directory)) {
    if ("missing" in found) {
      missing.push(`${found.shard.shard}: ${found.missing}`);
      onMissing?.(found.shard.shard, found.missing);
      if (!partial) break;
    } else if (!found.pieces) yield found.text;
    else yield joiner.whole(recordsOf(found.text));
  }
  if (missing.length === 0 || partial) return;
  throw corpusError(directory.path, "shards", "all done", `shard ${missing[0]}`, "or merge with --partial");
}

/** The records of a shard's JSONL. */
export function recordsOf(text: Buffer): ResultRecord[] {
  return text
    .toString()
    .split("\n")
    .slice(0, -1)
    .map((each) => parsed(each))
    .filter(isRecord);
}

/** Joins the parts of files, which follow each other. */
class Joiner {
  #parts: ResultRecord[] = [];

  /** The records that are whole. */
  whole(records: readonly ResultRecord[]): ResultRecord[] {
    return records.flatMap((record) => {
      if (!record.piece) return [record];
      const [part, parts] = record.piece;
      if (part !== this.#parts.length || this.#parts.some(({ index }) => index !== record.index))
        this.#parts = [];
      if (part !== this.#parts.length) return []; // an earlier part is not there
      this.#parts.push(record);
      if (part < parts - 1) return [];
      const whole = joined(this.#parts);
      this.#parts = [];
      return [whole];
    });
  }
}

/** One record of the parts of a file. Where one failed, the file did. */
function joined(parts: readonly ResultRecord[]): ResultRecord {
  const segments = parts.flatMap((part) => part.segments);
  const { index, key, audio, channel, reference } = parts[0];
  const agreement = agreementOf(segments);
  const warnings = [...new Set(parts.flatMap((part) => part.warnings ?? []))];
  const error = parts.find((part) => part.error)?.error;
  return {
    index,
    ...(key !== undefined && { key }),
    audio,
    ...(channel !== undefined && { channel }),
    seconds: Math.round(1000 * parts.reduce((sum, { seconds }) => sum + seconds, 0)) / 1000,
    text: joinTexts(segments.map(({ text }) => text)),
    segments,
    ...(agreement !== undefined && { agreement }),
    ...(reference !== undefined && { reference }),
    ...(warnings.length > 0 && { warnings }),
    ...(error && { error }),
  };
}
