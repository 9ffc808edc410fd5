import { open } from "node:fs/promises";
import { AudioError } from "../../frontend/errors.js";
import type { Sink } from "../../frontend/hearing.js";
import { type Streamed, streamAudio } from "../../frontend/stream-audio.js";
import { streamClip } from "../../node/clip.js";
import type { Item } from "../item.js";

/** How an item's audio is read. */
export interface ReadOptions {
  /** Hz */
  readonly rate: number;
  readonly channel?: number | undefined;
  readonly strict?: boolean | undefined;
  readonly signal: AbortSignal;
}

/** Thrown by a sink that needs no more. */
export class Enough extends Error {}

/** The name of an item's audio in errors. */
export function nameOf({ audio, member }: Item): string {
  return member ? `${audio}: ${member.name}` : audio;
}

/**
 * Decodes the whole file of an item block by block; see streamAudio.
 * @returns  undefined where the sink has enough
 */
export async function streamItem(
  item: Item,
  { rate, channel, strict, signal }: ReadOptions,
  sink: Sink,
): Promise<Streamed | undefined> {
  const options = { rate, channel: item.channel ?? channel, signal, ...(strict && { strict }) };
  try {
    if (!item.member) return await streamClip(item.audio, options, sink);
    return await streamMember(item, options, sink);
  } catch (error) {
    if (error instanceof Enough) return undefined;
    throw error;
  }
}

async function streamMember(
  item: Item,
  options: Parameters<typeof streamAudio>[2],
  sink: Sink,
): Promise<Streamed> {
  const { at: begin, bytes: size } = item.member!;
  const handle = await open(item.audio);
  const read = async (at: number, length: number): Promise<Uint8Array> => {
    const part = new Uint8Array(Math.max(0, Math.min(length, size - at)));
    let done = 0;
    for (let count = -1; done < part.length && count !== 0; done += count)
      ({ bytesRead: count } = await handle.read(part, done, part.length - done, begin + at + done));
    return part.subarray(0, done);
  };
  try {
    return await streamAudio({ size, read }, nameOf(item), options, sink);
  } finally {
    await handle.close();
  }
}

/**
 * As streamItem, of the item's part of the file alone.
 * @throws AudioError  the part is not within the file
 */
export async function streamPart(item: Item, options: ReadOptions, sink: Sink): Promise<string[]> {
  const { start = 0, end = Infinity } = item;
  const { rate, strict } = options;
  const [from, to] = [Math.round(start * rate), Math.round(end * rate)];
  let at = 0;
  const streamed = await streamItem(item, options, async (samples) => {
    const [first, last] = [from - at, to - at].map((sample) => Math.min(samples.length, Math.max(0, sample)));
    at += samples.length;
    if (last > first) await sink(samples.subarray(first, last));
    if (at >= to && strict !== true) throw new Enough();
  });
  if (from < at && (to === Infinity || to <= at + rate / 10))
    return [streamed?.damage, streamed?.warning].filter((text) => text !== undefined);
  const got = `${start} to ${end === Infinity ? "its end" : end}`;
  throw new AudioError(nameOf(item), "start and end", `a part of its ${(at / rate).toFixed(2)} s`, got);
}
