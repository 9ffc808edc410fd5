import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TranscriptionEngine } from "../src/decode/engine/engine.js";
import { runInEngine } from "../src/decode/engine/run-clips.js";
import { liveParts } from "../src/decode/live/engine-parts.js";
import type { LiveEvent } from "../src/decode/live/options.js";
import { LiveSession } from "../src/decode/live/session.js";
import { loadTranscriber } from "../src/decode/load.js";
import { transcribeRecording } from "../src/decode/segments/transcribe-recording.js";
import type { PreparedClip, Transcriber, Transcription } from "../src/decode/transcriber.js";
import { VoiceActivityDetector } from "../src/decode/vad/detector.js";
import { concatenated } from "../src/frontend/audio.js";
import { toWaveform } from "../src/frontend/features.js";
import { decodeClip } from "../src/node/clip.js";
import { demoModel, vadModel } from "../src/node/demo.js";
import { modelDirectory } from "../src/node/files.js";
import { useGpu } from "./gpu.js";

// Plan: the demo's clips, a recording of them and live speech share one engine, with times of words.
const gpu = useGpu();
const names = ["en-seen-1.wav", "zh-seen-1.wav", "en-unseen-1.wav"];
let transcriber: Transcriber;
let detector: VoiceActivityDetector;
let engine: TranscriptionEngine;
let clips: PreparedClip[];
let recording: Float32Array; // the clips with 1.2 s of silence around each
let idle: number;

beforeAll(async () => {
  transcriber = await loadTranscriber(gpu(), demoModel, { wordTimes: true });
  detector = await VoiceActivityDetector.load(gpu(), modelDirectory(vadModel));
  const audio = await Promise.all(names.map((name) => decodeClip(join(demoModel, "clips", name))));
  clips = audio.map((decoded, i) => transcriber.prepare(decoded, names[i]));
  const silence = new Float32Array(19_200);
  const waves = audio.map((decoded, i) => toWaveform(decoded, 16_000, names[i]));
  recording = concatenated([silence, ...waves.flatMap((wave) => [wave, silence])]);
  idle = gpu().bytes.kept;
  engine = new TranscriptionEngine(transcriber, { maxRows: 4 });
});
afterAll(async () => {
  await engine.close();
  expect(gpu().bytes).toMatchObject({ kept: idle, live: 0 });
  detector.free();
  transcriber.free();
});

/** A result without what is measured. */
const answer = (result: Transcription): object => ({
  ...result,
  seconds: undefined,
  queuedSeconds: undefined,
});

test("words have the times that they have alone", async () => {
  const got = await Promise.all([
    ...clips.map((clip) => engine.submit(clip)),
    engine.submit(clips[0], { wordTimes: false }),
  ]);
  for (const [i, clip] of clips.entries()) {
    const [alone] = await transcriber.transcribe([clip]);
    expect(alone.words!.length).toBeGreaterThan(1);
    expect(answer(got[i])).toEqual(answer(alone));
  }
  expect(got[3]).not.toHaveProperty("words");
  expect(got[3].text).toBe(got[0].text);
});

test("a recording in the engine has the segments that it has alone, beside other requests", async () => {
  const want = await transcribeRecording(transcriber, detector, [recording], { mergeMs: 0 });
  expect(want.segments.length).toBeGreaterThanOrEqual(3);
  const [got, clip] = await Promise.all([
    transcribeRecording(transcriber, detector, [recording], { mergeMs: 0, run: runInEngine(engine) }),
    engine.submit(clips[0]),
  ]);
  expect(got).toEqual(want);
  expect(answer(clip)).toEqual(answer((await transcriber.transcribe([clips[0]]))[0]));
});

test("live speech: stable text never changes and begins the final one", async () => {
  const events: LiveEvent[] = [];
  const errors: unknown[] = [];
  const session = new LiveSession(
    liveParts(engine, detector),
    { firstMs: 480, stepMs: 480 }, // clips of two seconds have stable words
    (event) => events.push(event),
    (error) => errors.push(error),
  );
  for (let at = 0; at < recording.length; at += 1600) {
    session.push(recording.slice(at, at + 1600));
    await session.idle(); // a device that is fast enough
  }
  session.commit();
  await session.idle();
  session.close();
  await session.idle();
  expect(errors).toEqual([]);
  let stable = "";
  let words = 0;
  let finals = 0;
  for (const event of events) {
    if (event.type === "started") stable = "";
    else if (event.type === "partial") {
      expect(event.stable.startsWith(stable)).toBe(true);
      ({ stable } = event);
      words += Number(stable !== "");
    } else if (event.type === "final") {
      expect(event.segment.text.startsWith(stable)).toBe(true);
      expect(event.segment.text).not.toBe("");
      finals++;
    }
  }
  expect(finals).toBeGreaterThanOrEqual(3);
  expect(words).toBeGreaterThan(0);
});
