import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { useGpu, values } from "../../../test/gpu.js";
import { decodeAudio } from "../../frontend/decode.js";
import { vadModel } from "../../node/demo.js";
import { modelDirectory } from "../../node/files.js";
import { VoiceActivityDetector } from "./detector.js";

// Plan: the shipped net on a clip of speech with silence around it, on silence and noise; pieces of
// any length give the bits of the whole; audio of no frame; a NaN; an abort; memory is given back.
const gpu = useGpu();
const clip = new URL("../../../models/demo/clips/en-seen-2.wav", import.meta.url);

test("speech is speech, the rest is not, and pieces give the bits of the whole", async () => {
  const { kept } = gpu().bytes;
  const detector = await VoiceActivityDetector.load(gpu(), modelDirectory(vadModel));
  const speech = (await decodeAudio(readFileSync(clip), "clip")).channels[0];
  const samples = new Float32Array(speech.length + 2 * 16_000);
  samples.set(speech, 16_000);
  const whole = await detector.probabilities(samples);
  const frames = 1 + Math.floor((samples.length - 400) / 160);
  expect([whole.silence.length, whole.speech.length]).toEqual([frames, frames]);
  const mean = (from: number, to: number): number =>
    whole.speech.slice(from, to).reduce((a, b) => a + b) / (to - from);
  expect(mean(0, 90)).toBeLessThan(0.4); // 0.30 in digital silence, by upstream's class too
  expect(mean(110, 90 + Math.floor(speech.length / 160))).toBeGreaterThan(0.7);
  for (const size of [4801, 70_000]) {
    const stream = detector.stream();
    const got: number[] = [];
    for (let at = 0; at < samples.length; at += size)
      got.push(...(await stream.push(samples.subarray(at, at + size))).silence);
    got.push(...(await stream.push(new Float32Array(0), true)).silence);
    stream.free();
    expect(Float32Array.from(got)).toEqual(whole.silence);
  }
  detector.free();
  expect(gpu().bytes.kept).toBe(kept);
});

test("silence, noise, audio of no frame, a NaN, an abort", async () => {
  const detector = await VoiceActivityDetector.load(gpu(), modelDirectory(vadModel));
  for (const samples of [new Float32Array(16_000), values(16_000, 1).map((value) => 0.01 * value)]) {
    const { speech } = await detector.probabilities(samples);
    expect(speech.reduce((a, b) => a + b) / speech.length).toBeLessThan(0.4);
  }
  expect((await detector.probabilities(new Float32Array(399))).silence).toEqual(new Float32Array(0));
  const bad = values(1000, 1).with(700, NaN);
  await expect(detector.probabilities(bad, { name: "x.wav" })).rejects.toThrow(
    "x.wav: sample 700: expected a finite number, got NaN",
  );
  const signal = AbortSignal.abort(new Error("stop"));
  await expect(detector.probabilities(values(1000, 1), { signal })).rejects.toThrow("stop");
  detector.free();
});
