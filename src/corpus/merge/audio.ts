import { open } from "node:fs/promises";
import { extname } from "node:path";
import { concatenated } from "../../frontend/audio.js";
import { wavBytes } from "../../frontend/write-wav.js";
import { readClip } from "../../node/clip.js";
import { streamPart } from "../engine/read.js";
import type { OutputLine } from "./lines.js";

const RATE = 16_000;

/** Audio of a line as a file: the bytes that it has, or a WAV of 16 kHz where it is a part. */
export interface AudioFile {
  /** With its dot. */
  readonly extension: string;
  readonly bytes: Uint8Array;
}

/** Whether a line's audio is a file by itself. */
export function isFile({ audio }: OutputLine): boolean {
  const { start, end, channel, member } = audio;
  return start === undefined && end === undefined && channel === undefined && !member;
}

/** @throws AudioError, or the system's error: the file is gone or was changed */
export async function audioFile(line: OutputLine): Promise<AudioFile> {
  const { audio, member, start, end, channel } = line.audio;
  const isPart = start !== undefined || end !== undefined || channel !== undefined;
  if (isPart) return { extension: ".wav", bytes: wavBytes(await samplesOf(line), RATE) };
  if (!member) return { extension: extname(audio).toLowerCase(), bytes: await readClip(audio) };
  const handle = await open(audio);
  try {
    const bytes = new Uint8Array(member.bytes);
    await handle.read(bytes, 0, member.bytes, member.at);
    return { extension: extname(member.name).toLowerCase(), bytes };
  } finally {
    await handle.close();
  }
}

async function samplesOf({ audio, record }: OutputLine): Promise<Float32Array> {
  const blocks: Float32Array[] = [];
  const { signal } = new AbortController();
  await streamPart({ index: record.index, ...audio }, { rate: RATE, signal }, (samples) => {
    blocks.push(samples.slice());
  });
  return concatenated(blocks);
}
