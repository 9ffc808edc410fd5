import { open } from "node:fs/promises";
import { audioSeconds, partSeconds } from "../../data/audio-length.js";
import type { Found, NewItem } from "./found.js";

const AT_ONCE = 16;

/** The utterances with their lengths, in the order they came; a header is read where none is given. */
export async function* withLengths(found: AsyncIterable<Found>): AsyncGenerator<Found, void, undefined> {
  const waiting: (Found | Promise<Found>)[] = [];
  let last: { readonly audio: string; readonly seconds: Promise<number | undefined> } | undefined;
  const known = (item: NewItem): Promise<number | undefined> => {
    const { audio, member } = item;
    if (member) return memberSeconds(item).catch(() => undefined);
    if (last?.audio === audio) return last.seconds; // parts of one file follow each other
    const seconds = audioSeconds(audio).catch(() => undefined);
    last = { audio, seconds };
    return seconds;
  };
  const measured = async (item: NewItem): Promise<Found> => {
    const whole = await known(item);
    if (whole === undefined) return { item };
    return { item: { ...item, seconds: Math.max(0, whole - (item.start ?? 0)) } };
  };
  for await (const one of found) {
    waiting.push("item" in one && one.item.seconds === undefined ? measured(one.item) : one);
    if (waiting.length >= AT_ONCE) yield await waiting.shift()!;
  }
  for (const one of waiting) yield await one;
}

async function memberSeconds({ audio, member }: NewItem): Promise<number | undefined> {
  const handle = await open(audio);
  try {
    return await partSeconds(handle, member!.at, member!.bytes);
  } finally {
    await handle.close();
  }
}
