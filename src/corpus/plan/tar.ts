import { type FileHandle, open } from "node:fs/promises";
import { posix } from "node:path";
import { Header, Pax } from "tar";
import { checkReadable } from "../../data/lines.js";
import { isObject } from "../../json.js";
import { corpusError } from "../errors.js";
import { parsed } from "../directory.js";
import type { Found, NewItem } from "./found.js";
import { keyOf } from "./jsonl.js";
import { AUDIO } from "./walk.js";

/** A file in a tar. */
interface Member {
  readonly name: string;
  /** Where its bytes begin. */
  readonly at: number;
  readonly bytes: number;
}

const BLOCK = 512;
const MOST_TEXT = 1 << 20; // bytes of a member that is read
const LONG = new Set(["NextFileHasLongPath", "OldGnuLongPath"]);
const FILES = new Set(["File", "OldFile", "ContiguousFile"]);

/** The files of a tar, by its headers alone. @throws CorpusError  a damaged or compressed tar */
async function* members(file: string, handle: FileHandle): AsyncGenerator<Member, void, undefined> {
  const { size } = await handle.stat();
  let [pax, long]: [Pax | undefined, string | undefined] = [undefined, undefined];
  const block = Buffer.alloc(BLOCK);
  for (let at = 0; at + BLOCK <= size;) {
    await handle.read(block, 0, BLOCK, at);
    if (block.every((byte) => byte === 0)) return;
    const header = headerOf(block, pax);
    const bytes = header?.size ?? 0;
    if (!header?.cksumValid || bytes < 0 || at + BLOCK + bytes > size) {
      const got = header?.cksumValid ? "an end in the file" : at === 0 ? "something else" : "damaged bytes";
      const advice = at === 0 ? "a compressed one has to be unpacked" : "is the file damaged?";
      throw corpusError(file, `byte ${at}`, "a header of a tar and its file", got, advice);
    }
    const begin = at + BLOCK;
    at = begin + Math.ceil(bytes / BLOCK) * BLOCK;
    if (header.type === "ExtendedHeader") pax = Pax.parse(await textAt(handle, begin, bytes), pax);
    else if (LONG.has(header.type)) long = (await textAt(handle, begin, bytes)).replace(/\0.*$/su, "");
    else if (header.type !== "GlobalExtendedHeader") {
      if (FILES.has(header.type)) yield { name: long ?? header.path ?? "", at: begin, bytes };
      [pax, long] = [undefined, undefined];
    }
  }
}

/** Undefined where the block's numbers cannot be read. */
function headerOf(block: Buffer, pax: Pax | undefined): Header | undefined {
  try {
    return new Header(Buffer.from(block), 0, pax);
  } catch {
    return undefined;
  }
}

async function textAt(handle: FileHandle, at: number, bytes: number): Promise<string> {
  const text = Buffer.alloc(Math.min(bytes, MOST_TEXT));
  await handle.read(text, 0, text.length, at);
  return text.toString();
}

/**
 * Utterances of a WebDataset tar: files that lie beside each other and share a name up to its first
 * dot. One of them is the audio; `.json` has its fields, and `.txt` what is said.
 */
export async function* fromTar(file: string): AsyncGenerator<Found, void, undefined> {
  await checkReadable(file);
  const handle = await open(file);
  try {
    let group: Member[] = [];
    for await (const member of members(file, handle)) {
      const before = group.at(0);
      if (before && keyIn(before.name) !== keyIn(member.name)) {
        yield await utterance(file, handle, group);
        group = [];
      }
      group.push(member);
    }
    if (group.length > 0) yield await utterance(file, handle, group);
  } finally {
    await handle.close();
  }
}

/** The name up to the first dot of its last part. */
function keyIn(name: string): string {
  const [base] = posix.basename(name).split(".", 1);
  return posix.join(posix.dirname(name), base);
}

async function utterance(file: string, handle: FileHandle, group: readonly Member[]): Promise<Found> {
  const key = keyIn(group[0].name);
  const audio = group.filter(({ name }) => AUDIO.test(name));
  if (audio.length !== 1)
    return { skipped: `${file}: ${key}`, why: audio.length === 0 ? "no audio" : "more than one audio" };
  const beside = async (ending: string): Promise<string | undefined> => {
    const found = group.find(({ name }) => name.endsWith(ending));
    return found && textAt(handle, found.at, found.bytes);
  };
  const json = parsed((await beside(".json")) ?? "{}");
  if (!isObject(json)) return { skipped: `${file}: ${key}`, why: `${key}.json is not a JSON object` };
  const { text = (await beside(".txt"))?.trim(), duration } = json;
  const item: NewItem = {
    key: keyOf(json) ?? key,
    audio: file,
    member: audio[0],
    ...(typeof text === "string" && { reference: text }),
    ...(typeof duration === "number" && duration > 0 && { seconds: duration }),
  };
  return { item };
}
