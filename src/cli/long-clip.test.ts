import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { wavBytes } from "../frontend/write-wav.js";
import type { PreparedClip, Transcriber, Transcription } from "../decode/transcriber.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { type Session, hear } from "./hear.js";
import { LongClip } from "./long-clip.js";
import { PartialWork } from "./partial-work.js";
import type { FileTranscript } from "./transcript-files.js";

const config = { audioTokenRule: "all" };
const transcriber = {
  sampleRate: 16_000,
  model: { config },
  maxSeconds: () => 100,
  prepare: (_: unknown, name: string) => ({ name, frames: 10, frontendSeconds: 0 }),
} as unknown as Transcriber;

// Plan: where a batch fails, the seconds of every clip that is run by itself are counted.
test("the seconds of clips that ran by themselves are all counted", async () => {
  let transcript: FileTranscript | undefined;
  const run = (clips: readonly PreparedClip[]): Promise<Transcription[]> => {
    if (clips.length > 1) return Promise.reject(new Error("out of memory"));
    const seconds = { frontend: 0, encoder: 1, adaptor: 2, prefill: 3, decode: 4 };
    const [answer] = [{ text: "a", tokenIds: [1], finish: "stop" as const, audioSeconds: 1, seconds }];
    return Promise.resolve([answer]);
  };
  const given = [0, 1, 2].map((i) => ({ startMs: 1000 * i, endMs: 1000 * (i + 1) }));
  const options = {
    maxEndSilence: 800,
    batchTokens: 1000,
    batch: 16,
    given,
    plain: false,
    deliver: (got: FileTranscript) => Promise.resolve(void (transcript = got)),
    report: () => Promise.resolve(),
    strange: () => undefined,
  };
  const name = { file: "x", label: "x", named: false };
  const clip = LongClip.begin(name, transcriber, run, options, { maxMs: Infinity });
  await clip.push(new Float32Array(48_000));
  await clip.end([]);
  expect(transcript?.object).toMatchObject({ seconds: { encoder: 3, adaptor: 6, prefill: 9, decode: 12 } });
});

// Plan: a clip that cannot begin leaves no file open.
test("the file of finished segments is closed where a clip cannot begin", async () => {
  const root = mkdtempSync(join(tmpdir(), "long-clip-"));
  const file = join(root, "x.wav");
  writeFileSync(file, wavBytes(new Float32Array(16_000), 16_000));
  const closed = vi.spyOn(PartialWork.prototype, "close");
  const stream = (): never => {
    throw new Error("no room");
  };
  const detector = { stream } as unknown as VoiceActivityDetector;
  const session = {
    transcriber,
    options: { outputDir: root, vad: "x", maxEndSilence: 800 },
    detector: () => Promise.resolve(detector),
    models: [],
  } as unknown as Session;
  const name = { file, label: "x", named: false };
  const begun = hear(session, name, () => undefined, () => Promise.resolve()); // prettier-ignore
  await expect(begun).rejects.toThrow("no room");
  expect(closed).toHaveBeenCalledOnce();
  closed.mockRestore();
  rmSync(root, { recursive: true });
});
