import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { Transcriber } from "../src/decode/transcriber.js";
import { translate } from "../src/decode/translator.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { toWaveform } from "../src/frontend/features.js";
import { demoModel } from "../src/node/demo.js";
import { modelDirectory } from "../src/node/files.js";
import { random, useGpu } from "./gpu.js";

const gpu = useGpu();
const rate = 16_000;
let transcriber: Transcriber;
let english: Float32Array;
let chinese: Float32Array;

beforeAll(async () => {
  transcriber = await Transcriber.load(gpu(), modelDirectory(demoModel));
  const wave = async (name: string): Promise<Float32Array> => {
    const path = join(demoModel, "clips", name);
    return toWaveform(await decodeAudio(readFileSync(path), path), rate);
  };
  english = await wave("en-seen-1.wav");
  chinese = await wave("zh-seen-1.wav");
});

type Outcome = readonly [text: string, finish: string];

async function hear(samples: Float32Array, language?: "en" | "zh"): Promise<Outcome> {
  const clip = transcriber.prepare({ channels: [samples], sampleRate: rate }, "clip");
  const [{ text, finish, tokenIds }] = await transcriber.transcribe([clip], { language });
  expect(tokenIds.length).toBeLessThanOrEqual(32 + clip.frames);
  return [text, finish];
}

/** Samples of a length by their index. */
const signal = (seconds: number, sample: (i: number) => number): Float32Array =>
  Float32Array.from({ length: Math.round(rate * seconds) }, (_, i) => sample(i));

const silence = (seconds: number): Float32Array => signal(seconds, () => 0);
const tone =
  (hertz: number, amplitude: number) =>
  (i: number): number =>
    amplitude * Math.sin((2 * Math.PI * hertz * i) / rate);

function noise(seconds: number, amplitude: number): Float32Array {
  const next = random(3);
  return signal(seconds, () => amplitude * next());
}

/** Louder by a factor and cut at full scale, as by a microphone that is overdriven. */
function overdriven(samples: Float32Array, factor: number): Float32Array {
  const peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return samples.map((x) => Math.max(-1, Math.min(1, (factor * x) / peak)));
}

function joined(...parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

const nothing: Outcome = ["", "stop"];
const saidEnglish: Outcome = ["set the oven to eighty two degrees", "stop"];
const saidChinese: Outcome = ["浴室的洗衣机开着吗", "stop"];

// Plan: nothing is invented on digital silence of 0.1 s to 60 s, nor on an offset, a click, hum, a
// tone, noise from a hundredth of full scale to all of it, whatever language is asked for.
describe("no speech", () => {
  it.each([
    ["0.1 s of silence", () => silence(0.1)],
    ["10 s of silence", () => silence(10)],
    ["a constant offset", () => signal(3, () => 0.3)],
    ["a click", () => signal(2, (i) => (i === rate ? 1 : 0))],
    ["mains hum", () => signal(3, tone(50, 0.3))],
    ["a tone", () => signal(3, tone(1000, 0.3))],
    ["noise of full scale", () => noise(3, 1)],
  ])("%s", async (_, make) => {
    const samples = make();
    for (const language of ["en", "zh", undefined] as const)
      expect(await hear(samples, language)).toEqual(nothing);
  });

  it.each([
    ["silence", () => silence(60)],
    ["noise", () => noise(60, 0.01)],
  ])("60 s of %s", async (_, make) => expect(await hear(make(), "en")).toEqual(nothing));
});

// Plan: no words are not translated into some.
it("a cascade makes nothing of silence", async () => {
  const clip = transcriber.prepare({ channels: [silence(1)], sampleRate: rate }, "silence");
  const [result] = await translate(transcriber, [clip], { to: "en", cascade: true });
  expect(result).toMatchObject({ transcript: "", text: "", tokenIds: [], finish: "stop" });
});

// Plan: clipped and faint speech is understood; what is too short for a word gives none.
describe("hard speech", () => {
  it("overdriven fourfold", async () => {
    expect(await hear(overdriven(english, 4), "en")).toEqual(saidEnglish);
    expect(await hear(overdriven(chinese, 4), "zh")).toEqual(saidChinese);
  });

  it("overdriven twentyfold", async () =>
    expect(await hear(overdriven(english, 20), "en")).toEqual(saidEnglish));

  it("faint: -60 dB", async () =>
    expect(
      await hear(
        english.map((x) => 1e-3 * x),
        "en",
      ),
    ).toEqual(saidEnglish));

  it("0.1 s of it", async () => expect(await hear(english.slice(rate, 1.1 * rate), "en")).toEqual(nothing));
});

// Plan: a minute of speech is eight times what the demo was trained on: its words may be wrong, but
// they come to an end, hold no cycle of 24 words.
describe("60 s of speech", () => {
  it("ends by itself or at a guard", async () => {
    const minute = joined(...Array.from({ length: 26 }, () => english)).slice(0, 60 * rate);
    const [text, finish] = await hear(minute, "en");
    expect(["stop", "loop"]).toContain(finish);
    expect(text).not.toMatch(/(\S+ )\1{23}/);
  });
});
