import { describe, expect, it } from "vitest";
import { cutAudio } from "./cut.js";
import { AudioError } from "./errors.js";

const samples = Float32Array.from({ length: 1000 }, (_, i) => i);
const audio = { channels: [samples, samples.map((x) => -x)], sampleRate: 8000 };

// Plan: the samples between two times, or the whole clip; times outside the clip are refused.
describe("cutAudio", () => {
  it.each([
    [{}, 0, 1000],
    [{ start: 0.025 }, 200, 1000],
    [{ end: 0.1 }, 0, 800],
    [{ start: 0.05, end: 0.0625 }, 400, 500],
    [{ start: 0.1, end: 0.2 }, 800, 1000],
  ])("%o", (part, first, last) => {
    const { channels, sampleRate } = cutAudio(audio, part);
    expect(sampleRate).toBe(8000);
    expect(channels.map((c) => [...c])).toEqual(audio.channels.map((c) => [...c.slice(first, last)]));
  });

  it("gives one channel, whole or cut, and refuses a missing one", () => {
    expect(cutAudio(audio, { channel: 2 }).channels).toEqual([audio.channels[1]]);
    expect(cutAudio(audio, { channel: 1, start: 0.1 }).channels).toEqual([samples.slice(800)]);
    expect(() => cutAudio(audio, { channel: 3 }, "a.wav")).toThrow(
      "a.wav: channel: expected 1 (left) or 2 (right), got 3",
    );
  });

  it.each([{ start: 0.2 }, { start: 0.1, end: 0.1 }, { start: 0.05, end: 0.3 }, { start: NaN }])(
    "refuses %o",
    (part) => {
      expect(() => cutAudio(audio, part, "a.wav")).toThrow(AudioError);
      expect(() => cutAudio(audio, part, "a.wav")).toThrow(
        "a.wav: start and end: expected a part of its 0.13 s, got ",
      );
    },
  );
});
