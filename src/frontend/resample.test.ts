import { describe, expect, it } from "vitest";
import { resampleCases, relativeRms, testWave } from "../../test/helpers/frontend.js";
import { toMono } from "./audio.js";
import { AudioError } from "./errors.js";
import { toWaveform } from "./features.js";
import { resample } from "./resample.js";

// Plan: integer, fractional and coprime ratios, down and up, against torchaudio's definition
// computed in f64.
describe("resample: values", () => {
  it.each(resampleCases())("$from -> $to Hz, $n samples", ({ from, to, n, y }) => {
    const got = resample(testWave(n, from), from, to);
    expect(got.length).toBe(Math.ceil((to * n) / from));
    expect(got.length).toBe(y.length);
    expect(relativeRms(got, y)).toBeLessThan(5e-8); // one rounding to f32: at most 2^-24, 6e-8, of a sample
  });
});

// Plan: lengths and edges that fractions get wrong; the same rate; a tone keeps its level below the
// cut-off and goes above it.
describe("resample: properties", () => {
  it.each([
    [0, 48000, 16000, 0],
    [1, 48000, 16000, 1],
    [2, 48000, 16000, 1],
    [3, 48000, 16000, 1],
    [4, 48000, 16000, 2],
    [441, 44100, 16000, 160],
    [442, 44100, 16000, 161],
    [1, 16000, 48000, 3],
  ])("%i samples, %i -> %i Hz: %i", (n, from, to, want) => {
    expect(resample(new Float32Array(n), from, to).length).toBe(want);
  });

  it("gives back the samples when the rates are equal", () => {
    const samples = testWave(10, 16000);
    expect(resample(samples, 16000, 16000)).toBe(samples);
  });

  it.each([
    [1000, 1],
    [6000, 1],
    [10000, 0],
  ])("a tone of %i Hz at 48 kHz comes out at level %f", (frequency, level) => {
    const tone = Float32Array.from({ length: 4800 }, (_, i) =>
      Math.sin((2 * Math.PI * frequency * i) / 48000),
    );
    const middle = resample(tone, 48000, 16000).subarray(200, 1400);
    const rms = Math.sqrt(middle.reduce((sum, x) => sum + x * x, 0) / middle.length);
    expect(Math.abs(rms * Math.SQRT2 - level)).toBeLessThan(0.05);
  });

  it("turns a minute of 48 kHz into a minute of 16 kHz", () => {
    const minute = new Float32Array(60 * 48000).fill(0.5);
    const resampled = resample(minute, 48000, 16000);
    expect(resampled).toHaveLength(60 * 16000);
    expect(resampled.subarray(200, -200).every((x) => Math.abs(x - 0.5) < 1e-3)).toBe(true);
  });

  it.each([
    [44100.5, 16000, "resample: from: expected 4000..768000 whole Hz, got 44100.5"],
    [3999, 16000, "resample: from: expected 4000..768000 whole Hz, got 3999"],
    [NaN, 16000, "resample: from: expected 4000..768000 whole Hz, got NaN"],
    [16000, 0, "resample: to: expected 4000..768000 whole Hz, got 0"],
  ])("refuses %f -> %f Hz", (from, to, message) => {
    expect(() => resample(new Float32Array(4), from, to)).toThrow(AudioError);
    expect(() => resample(new Float32Array(4), from, to)).toThrow(message);
  });
});

// Plan: the mean of the channels; one channel untouched; what is no set of channels refused.
describe("toWaveform", () => {
  it.each([44100.5, 3999, NaN])("names the clip whose rate is %d", (sampleRate) => {
    const audio = { channels: [new Float32Array(800)], sampleRate };
    expect(() => toWaveform(audio, 16000, "a.wav")).toThrow(
      `a.wav: sample rate: expected 4000..768000 whole Hz, got ${sampleRate}`,
    );
  });
});

describe("toMono", () => {
  it("averages in f64", () => {
    expect(
      toMono([new Float32Array([1, 3e38]), new Float32Array([0, 3e38]), new Float32Array([-0.25, 3e38])]),
    ).toEqual(new Float32Array([0.25, 3e38]));
  });

  it("keeps a single channel", () => {
    const channel = new Float32Array([1, 2]);
    expect(toMono([channel])).toBe(channel);
  });

  it("refuses no channels and channels of different lengths", () => {
    expect(() => toMono([], "a.wav")).toThrow("a.wav: channels: expected 1 or more, got 0");
    expect(() => toMono([new Float32Array(2), new Float32Array(3)], "a.wav")).toThrow(
      "a.wav: channel 1: expected 2 samples long, as channel 0, got 3",
    );
  });
});
