import { stat } from "node:fs/promises";
import { audioSeconds, countedSeconds } from "../../data/audio-length.js";
import type { Utterance } from "../../data/utterances.js";
import type { LongAudio } from "../../evaluate/recordings/run-recording.js";
import { LEAST_WHOLE_SECONDS } from "../../decode/segments/transcribe-recording.js";
import { type DecodedAudio, concatenated } from "../../frontend/audio.js";
import { pickChannel } from "../../frontend/channel.js";
import { AudioError } from "../../frontend/errors.js";
import type { Sink } from "../../frontend/hearing.js";
import { decodeClip, streamClip } from "../../node/clip.js";

/** How audio is read. */
export interface Reading {
  /** Hz */
  readonly rate: number;
  /** That fit the model. */
  readonly maxSeconds: number;
  /** That are run whole where `vad` is absent: see wholeSeconds. */
  readonly wholeSeconds: number;
  /** Channel of lines that name none, counted from 1; absent: the mean of all. */
  readonly channel?: number | undefined;
  readonly strict?: boolean | undefined;
  /** "off": all audio is run whole; a net: all in segments; absent: what is long. */
  readonly vad?: string | undefined;
}

/** Part of a file, or all of it. */
type Part = Pick<Utterance, "audio" | "start" | "end" | "channel">;

/**
 * The audio of an utterance: the whole file of one that is run whole, and the part itself of one
 * that is run in segments, as a stream.
 * @throws AudioError  see decodeClip; the reference passes the file's end
 */
export async function readAudio(utterance: Utterance, reading: Reading): Promise<DecodedAudio | LongAudio> {
  await checkReference(utterance);
  const { vad, maxSeconds, wholeSeconds, channel } = reading;
  if (vad === "off") return wholeFile(utterance, reading, maxSeconds);
  const part = { ...utterance, channel: utterance.channel ?? channel };
  const long = { stream: (sink: Sink) => streamPart(part, reading, sink) };
  const limit = vad === undefined ? wholeSeconds : 0;
  const { start = 0, end } = utterance;
  if (limit === 0 || (end !== undefined && end - start > limit)) return long;
  try {
    const audio = await wholeFile(utterance, reading, limit);
    const seconds = audio.channels[0].length / audio.sampleRate;
    return end === undefined && seconds - start > limit ? long : audio;
  } catch (error) {
    if (isTooLong(error)) return long;
    throw error;
  }
}

const LEAST_BYTES = 25_000; // of 15 s in any codec

/** Whether an utterance may be too long to be run whole, by its times or the file's header. */
export async function mayBeLong({ audio, start = 0, end }: Part): Promise<boolean> {
  if (end !== undefined) return end - start > LEAST_WHOLE_SECONDS;
  const seconds = await audioSeconds(audio).catch(() => 0); // what cannot be read is reported in its turn
  if (seconds !== undefined) return seconds - start > LEAST_WHOLE_SECONDS;
  return (await stat(audio)).size > LEAST_BYTES;
}

/** The whole file. @param maxSeconds  that it may last, where the utterance is no part of it */
async function wholeFile(
  { audio: file, start, end, channel }: Part,
  { rate, strict, channel: asked }: Reading,
  maxSeconds: number,
): Promise<DecodedAudio> {
  const piece = start !== undefined || end !== undefined;
  const whole = !piece && asked === undefined && channel === undefined;
  const audio = await decodeClip(file, {
    strict,
    maxSeconds: piece ? undefined : maxSeconds,
    keep: whole ? { rate } : undefined,
  });
  return asked === undefined || channel !== undefined ? audio : pickChannel(audio, asked, file);
}

/** Whether a file was refused for its length. */
function isTooLong(error: unknown): boolean {
  return error instanceof AudioError && error.field === "prompt";
}

class PartEnds extends Error {}

/**
 * Decodes a part of a file block by block.
 * @throws AudioError  see streamClip; the part is not within the file
 */
async function streamPart(
  { audio: file, start = 0, end = Infinity, channel }: Part,
  { rate, strict }: Pick<Reading, "rate" | "strict">,
  sink: Sink,
): Promise<{ readonly warnings: readonly string[] }> {
  const [from, to] = [Math.round(start * rate), Math.round(end * rate)];
  let at = 0;
  const piece = async (samples: Float32Array): Promise<void> => {
    const [first, last] = [from - at, to - at].map((sample) => Math.min(samples.length, Math.max(0, sample)));
    at += samples.length;
    if (last > first) await sink(samples.subarray(first, last));
    if (at >= to && strict !== true) throw new PartEnds(); // what follows is not wanted
  };
  try {
    const options = { rate, channel, ...(strict && { strict }) };
    const { damage, warning } = await streamClip(file, options, piece);
    if (from < at && (to === Infinity || to <= at + rate / 10))
      return { warnings: [damage, warning].filter((text) => text !== undefined) };
  } catch (error) {
    if (error instanceof PartEnds) return { warnings: [] };
    throw error;
  }
  const seconds = (at / rate).toFixed(2);
  const got = `${start} to ${end === Infinity ? "its end" : end}`;
  throw new AudioError(file, "start and end", `a part of its ${seconds} s`, got);
}

const SPARE_SECONDS = 1; // that a reference may pass its audio

/** @throws AudioError  the times of the reference pass the end of a file whose length is known */
async function checkReference({ audio, segments = [], ignore = [] }: Utterance): Promise<void> {
  const last = [...segments, ...ignore].reduce((most, { end }) => Math.max(most, end), 0);
  const seconds = last === 0 ? undefined : await countedSeconds(audio);
  if (seconds === undefined || last <= seconds + SPARE_SECONDS) return;
  throw new AudioError(audio, "segments", `times within its ${seconds.toFixed(2)} s`, `${last}`, {
    advice: "name the recording that the reference is of",
  });
}

/** Samples of the first seconds of a part, [n] f32. @throws AudioError  see streamPart */
export async function firstSeconds(part: Part, rate: number, seconds: number): Promise<Float32Array> {
  const blocks: Float32Array[] = [];
  let count = 0;
  const enough = new PartEnds();
  const sink = (samples: Float32Array): void => {
    blocks.push(samples.slice());
    count += samples.length;
    if (count >= seconds * rate) throw enough;
  };
  try {
    await streamPart(part, { rate }, sink);
  } catch (error) {
    if (error !== enough) throw error;
  }
  return concatenated(blocks).subarray(0, seconds * rate);
}
