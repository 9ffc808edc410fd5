import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { testWave } from "../../test/helpers/frontend.js";
import { mixDown, toMono } from "./audio.js";
import { pickChannel } from "./channel.js";
import { decodeAudio } from "./decode.js";
import { toWaveform } from "./features.js";
import { Hearing } from "./hearing.js";
import { resample, Resampler } from "./resample.js";

function blocks(samples: Float32Array, size: number): Float32Array[] {
  return Array.from({ length: Math.ceil(samples.length / size) }, (_, i) =>
    samples.subarray(i * size, (i + 1) * size),
  );
}

// Plan: blocks of any size give the bits of the whole, at ratios down, up, whole and coprime, and
// at edges.
describe("Resampler", () => {
  it.each(
    [
      [48_000, 16_000],
      [44_100, 16_000],
      [8000, 16_000],
      [11_025, 16_000],
      [768_000, 4000],
      [16_000, 16_000],
    ].flatMap(([from, to]) => [0, 1, 5, 3001].map((n) => [from, to, n])),
  )("%i -> %i Hz, %i samples", (from, to, n) => {
    const samples = testWave(n, from);
    const want = resample(samples, from, to);
    for (const size of [1, 7, 441, 4000]) {
      const resampler = new Resampler(from, to);
      const parts = blocks(samples, size).map((block) => resampler.push(block));
      const got = [...parts, resampler.end()].flatMap((part) => Array.from(part));
      expect(Float32Array.from(got)).toEqual(want);
    }
  });
});

// Plan: blocks give the bits of `toWaveform` on the whole; channels cancel by the rule of
// `mixDown`.
describe("Hearing", () => {
  const a = testWave(5000, 8000);
  const b = Float32Array.from(a, (x, i) => 0.7 * x + Math.sin(i) / 9);
  const hear = (channels: Float32Array[], channel?: number | "each"): ReturnType<Hearing["finish"]> => {
    const hearing = new Hearing("x", { rate: 16_000, channel });
    const parts = channels.map((samples) => blocks(samples, 999));
    parts[0].forEach((_, i) => hearing.push(parts.map((part) => part[i]), 8000)); // prettier-ignore
    return hearing.finish(false);
  };

  it("keeps the mean", () => {
    const want = toWaveform({ channels: [a, b], sampleRate: 8000 }, 16_000);
    expect(hear([a, b])).toEqual({ channels: [want], sampleRate: 16_000, seconds: 0.625, channelCount: 2 });
  });

  it("keeps one channel, or each", () => {
    const want = [a, b].map((samples) => resample(samples, 8000, 16_000));
    expect(hear([a, b], 2).channels).toEqual([want[1]]);
    expect(hear([a, b], "each").channels).toEqual(want);
    expect(() => hear([a, b], 3)).toThrow("x: channel: expected 1 (left) or 2 (right), got 3");
  });

  it("names the loudest channel where they cancel", () => {
    const minus = a.map((x) => -0.9 * x);
    const { instead, warning } = hear([minus, a]);
    expect([instead, warning]).toEqual([2, mixDown([minus, a]).warning]);
    expect(hear([a, b]).instead).toBeUndefined();
  });

  it("refuses samples that are not finite, with their place in the file", () => {
    const broken = a.slice();
    broken[3000] = NaN;
    expect(() => hear([a, broken])).toThrow("sample 3000 of channel 1: expected a finite number, got NaN");
  });

  it("joins streams at the highest rate, and mixes counts that differ", () => {
    const kinds = [
      { rate: 8000, channels: 2 },
      { rate: 11_025, channels: 1 },
    ];
    const hearing = new Hearing("x", { rate: 16_000 }, kinds);
    hearing.push([a, b], 8000);
    hearing.endStream();
    hearing.push([b], 11_025);
    hearing.endStream();
    const first = Array.from(resample(toMono([a, b]), 8000, 11_025));
    const joined = Float32Array.from([...first, ...b]);
    expect(hearing.finish(false).channels).toEqual([resample(joined, 11_025, 16_000)]);
  });
});

// Plan: `keep` gives the bits of decoding whole, in every container; a doubled mono stream is one
// channel.
describe("decodeAudio with keep", () => {
  const names = [
    "speech.aac",
    "speech.flac",
    "speech.m4a",
    "speech.mp3",
    "speech.ogg",
    "speech.opus",
    "speech.webm",
  ];
  const plain = ["24bit-stereo.wav", "adpcm-ima-stereo.wav", "adpcm-ms-mono.wav", "flac.ogg"];
  it.each([...names, ...plain])("%s", async (name) => {
    const bytes = new Uint8Array(readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url)));
    const whole = await decodeAudio(bytes, name);
    const { channels, seconds } = await decodeAudio(bytes, name, { keep: { rate: 12_000 } });
    expect(channels).toEqual([toWaveform(whole, 12_000)]);
    expect(seconds).toBe(whole.channels[0].length / whole.sampleRate);
    const each = await decodeAudio(bytes, name, { keep: { rate: 12_000, channel: "each" } });
    const count = whole.channels.length;
    const want = whole.channels.map((_, c) => toWaveform(pickChannel(whole, c + 1), 12_000));
    expect(each.channels).toEqual(want);
    const none = decodeAudio(bytes, name, { keep: { rate: 12_000, channel: count + 1 } });
    await expect(none).rejects.toThrow(`${name}: channel: expected 1`);
  });
});
