import { readFileSync } from "node:fs";
import { join } from "node:path";
import { WebSocket } from "ws";
import { decodeClip } from "../../src/node/clip.js";
import { demoModel } from "../../src/node/demo.js";
import { form } from "../../test/helpers/serve.js";
import { sleep } from "./process.js";

/** Hz */
const rate = 16_000;
const pieceMs = 100;
/** Silence between clips and behind the last one: more than ends a segment. */
export const pauseSeconds = 1.2;
const patienceMs = 60_000; // from the last sample to the last text

/** A clip of the demo, and what the server hears in it alone. */
export interface LiveClip {
  readonly samples: Float32Array;
  readonly text: string;
  /** Ends of the words: characters of the text up to there, and seconds. */
  readonly ends: readonly { readonly characters: number; readonly seconds: number }[];
}

interface VerboseAnswer {
  readonly text: string;
  readonly words?: readonly { readonly word: string; readonly end: number }[];
}

export async function liveClips(address: string): Promise<LiveClip[]> {
  const lines = readFileSync(join(demoModel, "clips", "clips.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  const clips: LiveClip[] = [];
  for (const line of lines) {
    const { audio } = JSON.parse(line) as { audio: string };
    const path = join(demoModel, "clips", audio);
    const asked = { model: "demo", response_format: "verbose_json", "timestamp_granularities[]": "word" };
    const body = form(asked, new File([readFileSync(path)], audio));
    const answer = await fetch(`${address}/v1/audio/transcriptions`, { method: "POST", body });
    if (!answer.ok) throw new Error(`bench/live: ${audio}: ${answer.status} ${await answer.text()}`);
    const { text, words = [] } = (await answer.json()) as VerboseAnswer;
    let at = 0;
    const ends = words.map(({ word, end }) => {
      at = text.indexOf(word.trim(), at) + word.trim().length;
      return { characters: at, seconds: end };
    });
    const { channels } = await decodeClip(path, { keep: { rate } });
    clips.push({ samples: channels[0], text, ends });
  }
  return clips;
}

/** What one stream saw; times are moments of performance.now(). */
export interface StreamSeen {
  /** The recording's seconds. */
  readonly audioSeconds: number;
  readonly begun: number;
  ended: number;
  /** Seconds. */
  readonly final: number[];
  readonly stable: number[];
  words: number;
  finals: number;
  equal: number;
  retracted: number;
}

interface Item {
  endMs: number;
  /** Stable text, and when it was so. */
  readonly texts: { readonly text: string; readonly at: number }[];
}

interface Event {
  readonly type: string;
  readonly item_id?: string;
  readonly delta?: string;
  readonly transcript?: string;
  readonly audio_end_ms?: number;
  readonly error?: { readonly message: string };
}

/** Sends clips with pauses between over OpenAI's realtime protocol at a speed, and hears their texts. */
export async function liveStream(
  address: string,
  clips: readonly LiveClip[],
  speed: number,
): Promise<StreamSeen> {
  const pause = Math.round(rate * pauseSeconds);
  const starts: number[] = [];
  let length = 0;
  for (const { samples } of clips) {
    starts.push(length / rate);
    length += samples.length + pause;
  }
  const pcm = new Int16Array(length);
  for (const [i, { samples }] of clips.entries())
    for (const [j, value] of samples.entries())
      pcm[Math.round(starts[i] * rate) + j] = Math.round(32_767 * value);

  const socket = new WebSocket(`${address.replace("http", "ws")}/v1/realtime?intent=transcription`);
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const send = (event: object): void => socket.send(JSON.stringify(event));
  const input = { format: { type: "audio/pcm", rate }, transcription: { model: "demo" } };
  send({ type: "session.update", session: { type: "transcription", audio: { input } } });
  const begun = performance.now();
  const counts = { words: 0, finals: 0, equal: 0, retracted: 0 };
  const seen: StreamSeen = {
    audioSeconds: length / rate,
    begun,
    ended: begun,
    final: [],
    stable: [],
    ...counts,
  };
  const when = (seconds: number): number => begun + (1000 * seconds) / speed;
  const items = new Map<string, Item>();
  const itemOf = (id: string): Item => items.get(id) ?? items.set(id, { endMs: 0, texts: [] }).get(id)!;
  let failure: Error | undefined;

  const finish = (item: Item, transcript: string): void => {
    const now = performance.now();
    seen.ended = now;
    if (transcript === "") return;
    seen.finals++;
    seen.final.push((now - when(item.endMs / 1000)) / 1000);
    const early = item.texts.filter(({ text, at }) => at < now && text !== transcript);
    if (item.texts.some(({ text }) => !transcript.startsWith(text))) seen.retracted++;
    const i = nearest(starts, clips, item.endMs / 1000);
    const { text, ends } = clips[i];
    if (text !== transcript) return;
    seen.equal++;
    seen.words += ends.length;
    for (const { characters, seconds } of ends) {
      const first = early.find((part) => part.text.length >= characters);
      if (first) seen.stable.push((first.at - when(starts[i] + seconds)) / 1000);
    }
  };
  socket.on("message", (data: Buffer) => {
    const event = JSON.parse(data.toString()) as Event;
    const item = itemOf(event.item_id ?? "");
    if (event.type === "input_audio_buffer.speech_stopped") item.endMs = event.audio_end_ms!;
    else if (event.type.endsWith("transcription.delta"))
      item.texts.push({ text: (item.texts.at(-1)?.text ?? "") + event.delta!, at: performance.now() });
    else if (event.type.endsWith("transcription.completed")) finish(item, event.transcript!);
    else if (event.type === "error" || event.type.endsWith(".failed"))
      failure = new Error(`bench/live: ${event.error?.message}`);
  });

  const piece = (rate * pieceMs) / 1000;
  for (let at = 0; at < length; at += piece) {
    await sleep(Math.max(0, when((at + piece) / rate) - performance.now()));
    const part = pcm.subarray(at, at + piece);
    const audio = Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
    send({ type: "input_audio_buffer.append", audio });
  }
  const last = performance.now() + patienceMs;
  while (seen.finals < clips.length && !failure && performance.now() < last) await sleep(50);
  socket.close();
  if (failure) throw failure;
  return seen;
}

/** The clip that ends nearest to a moment of the recording, with its pause half behind it. */
function nearest(starts: readonly number[], clips: readonly LiveClip[], seconds: number): number {
  const ends = starts.map((start, i) => start + clips[i].samples.length / rate);
  return ends.reduce(
    (best, end, i) => (Math.abs(end - seconds) < Math.abs(ends[best] - seconds) ? i : best),
    0,
  );
}
