import { setMaxListeners } from "node:events";
import { isObject } from "../../json.js";
import { joinTexts } from "../../scripts.js";
import { writeFileAtomic } from "../../node/files.js";
import { type CorpusDirectory, type Done, sha256 } from "../directory.js";
import { type CorpusEngine, ItemFailure } from "../engine/engine.js";
import {
  type FailureKind,
  type Heard,
  type Item,
  type ResultRecord,
  type ResultSegment,
  line,
} from "../item.js";
import { checkReach } from "./reach.js";
import type { Handed } from "./source.js";

/** The result of a shard. */
export interface ShardResult {
  readonly text: string;
  readonly done: Done;
}

/** How a shard is run. */
export interface RunOptions {
  readonly engine: CorpusEngine;
  readonly signal: AbortSignal;
  /** A shard without any of its audio, nor the directories of it, has records all the same. */
  readonly acceptMissing?: boolean | undefined;
}

/**
 * Runs the items of a shard, `engine.width` at once. A bad item is a record with its error.
 * @throws as CorpusEngine.run where it is no ItemFailure; AudioOutOfReach; the signal's reason
 */
export async function runShard(
  directory: CorpusDirectory,
  { shard }: Handed,
  { engine, signal, acceptMissing = false }: RunOptions,
): Promise<ShardResult> {
  const items = await directory.items(shard);
  const records: ResultRecord[] = new Array<ResultRecord>(items.length);
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  setMaxListeners(0, either); // of every item that runs
  let next = 0;
  const run = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) {
      either.throwIfAborted();
      records[i] = await record(items[i], engine, either);
    }
  };
  const runs = Array.from({ length: Math.min(engine.width, items.length) }, () =>
    run().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(runs);
  either.throwIfAborted();
  if (!acceptMissing) await checkReach(shard.shard, items, records);
  const text = records.map((each) => line(each)).join("");
  return { text, done: doneOf(directory.manifest.id, shard, records, text) };
}

async function record(item: Item, engine: CorpusEngine, signal: AbortSignal): Promise<ResultRecord> {
  try {
    return recordOf(item, await engine.run(item, signal));
  } catch (error) {
    if (!(error instanceof ItemFailure)) throw error;
    const failed = recordOf(item, { seconds: 0, segments: [] });
    return { ...failed, error: { kind: error.kind, message: error.message } };
  }
}

function recordOf(item: Item, { seconds, segments, warnings }: Heard): ResultRecord {
  const { index, key, audio, member, start, end, channel, reference, piece } = item;
  const agreement = agreementOf(segments);
  return {
    index,
    ...(key !== undefined && { key }),
    audio,
    ...(member && { member: member.name }),
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    ...(channel !== undefined && { channel }),
    seconds,
    text: joinTexts(segments.map(({ text }) => text)),
    segments,
    ...(agreement !== undefined && { agreement }),
    ...(reference !== undefined && { reference }),
    ...(warnings && { warnings }),
    ...(piece && { piece: [piece.part, piece.parts] as const }),
  };
}

/** That of segments by their lengths; undefined where none has one. */
export function agreementOf(segments: readonly ResultSegment[]): number | undefined {
  let [sum, length] = [0, 0];
  for (const { start, end, agreement } of segments) {
    if (agreement === undefined) continue;
    sum += agreement * (end - start);
    length += end - start;
  }
  return length > 0 ? Math.round((1000 * sum) / length) / 1000 : undefined;
}

function doneOf(
  corpus: string,
  { shard, sha256: input }: Handed["shard"],
  records: readonly ResultRecord[],
  text: string,
): Done {
  const failures: Partial<Record<FailureKind, number>> = {};
  for (const { error } of records) if (error) failures[error.kind] = (failures[error.kind] ?? 0) + 1;
  return {
    corpus,
    shard,
    input,
    output: sha256(text),
    bytes: Buffer.byteLength(text),
    records: records.length,
    pieces: records.some(({ piece }) => piece !== undefined),
    seconds: Math.round(1000 * records.reduce((sum, { seconds }) => sum + seconds, 0)) / 1000,
    failures,
  };
}

/**
 * Writes a result, and then its mark. Both depend on the plan alone: a worker that writes late
 * replaces them by the same bytes.
 * @throws WriteError
 */
export async function writeResult(
  directory: CorpusDirectory,
  { shard, round }: Handed,
  { text, done }: ShardResult,
): Promise<void> {
  const encoder = new TextEncoder();
  await writeFileAtomic(directory.resultPath(shard.shard, round), [encoder.encode(text)]);
  const mark = `${JSON.stringify(done)}\n`;
  await writeFileAtomic(directory.donePath(shard.shard, round), [encoder.encode(mark)]);
}

/** Whether a value is a record of a result. */
export function isRecord(value: unknown): value is ResultRecord {
  return isObject(value) && typeof value["index"] === "number" && Array.isArray(value["segments"]);
}
