import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LoadedModels, loadModels } from "../src/corpus/engine/load.js";
import { ItemWork } from "../src/corpus/engine/transcribe.js";
import type { Heard } from "../src/corpus/item.js";
import { piecesOf } from "../src/corpus/plan/shards.js";
import { decodeClip } from "../src/node/clip.js";
import { demoModel, vadModel } from "../src/node/demo.js";
import { wavBytes } from "../src/frontend/write-wav.js";

// Plan: a file of 2 minutes is cut in the midst of words and of silences; its parts have the segments
// of the whole file, each once, whether the audio before a part has a long silence or has not.

const folder = mkdtempSync(join(tmpdir(), "cut-"));
const signal = new AbortController().signal;
const rate = 16_000;
let models: LoadedModels;
afterAll(() => {
  models.gpu.destroy();
  rmSync(folder, { recursive: true });
});

beforeAll(async () => {
  models = await loadModels({ model: demoModel, vad: vadModel, lora: [], options: { wordTimes: true } });
}, 60_000);

/** Clips of the demo with these pauses between them, s. */
async function longFile(name: string, pauses: readonly number[]): Promise<string> {
  const clips = ["en-seen-1.wav", "zh-seen-2.wav", "en-seen-2.wav", "zh-seen-1.wav"];
  const speech = await Promise.all(
    clips.map(
      async (clip) => (await decodeClip(join(demoModel, "clips", clip), { keep: { rate } })).channels[0],
    ),
  );
  const parts = pauses.flatMap((pause, i) => [speech[i % 4], new Float32Array(Math.round(pause * rate))]);
  const samples = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    samples.set(part, at);
    at += part.length;
  }
  const file = join(folder, name);
  writeFileSync(file, wavBytes(samples, rate));
  return file;
}

const heard = (item: ConstructorParameters<typeof ItemWork>[1]): Promise<Heard> =>
  new ItemWork(models, item, signal).heard();

test.each([
  ["long silences", Array.from({ length: 28 }, (_, i) => (i % 4 === 3 ? 3.5 : 0.5 + (i % 3) / 4))],
  ["short silences alone", Array.from({ length: 30 }, (_, i) => 0.45 + (i % 4) / 5)],
])(
  "%s",
  async (name, pauses) => {
    const audio = await longFile(`${name}.wav`, pauses);
    const whole = await heard({ index: 0, audio });
    expect(whole.segments.length).toBeGreaterThan(20);
    const cut = whole.seconds / 3.7;
    const pieces = piecesOf({ audio, seconds: whole.seconds }, 0, cut);
    expect(pieces.length).toBe(4);
    const parts: Heard[] = [];
    for (const piece of pieces) parts.push(await heard(piece));
    expect(parts.flatMap(({ segments }) => segments)).toEqual(whole.segments);
    expect(parts.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(whole.seconds, 2);
    for (const [i, { segments }] of parts.entries())
      for (const { start } of segments) expect(Math.floor(start / cut)).toBe(i);
  },
  120_000,
);
