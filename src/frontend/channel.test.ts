import { describe, expect, it } from "vitest";
import { mixDown, toMono } from "./audio.js";
import { eachChannel, pickChannel } from "./channel.js";
import { AudioError } from "./errors.js";
import { toWaveform } from "./features.js";
import { uniformNumbers } from "../random.js";

/** Noise of a variance of 1/3 times `gain` squared, the same for the same seed. */
function noise(seed: number, gain = 1): Float32Array {
  const next = uniformNumbers(seed);
  return Float32Array.from({ length: 4000 }, () => gain * (2 * next() - 1));
}

const a = noise(1);
const times = (factor: number, offset = 0): Float32Array => a.map((x) => factor * x + offset);
const plus = (x: Float32Array, y: Float32Array): Float32Array => x.map((value, i) => value + y[i]);
const zero = new Float32Array(4000);

// Plan: channels that cancel each other, in whole or nearly, give the loudest one and a warning;
// everything else gives the bits of the mean and no warning.
describe("mixDown", () => {
  it.each<[string, Float32Array[], number]>([
    ["an inverted channel", [a, times(-1)], 0],
    ["a louder second channel", [times(-0.8), a], 1],
    ["0.75 of the inverse", [a, times(-0.75)], 0],
    ["an inverse with noise 20 dB below", [a, plus(times(-1), noise(2, 0.1))], 1],
    ["an inverse with an offset on both", [times(0.5, 0.3), times(-0.5, 0.3)], 0],
    ["two pairs", [times(0.5), times(-0.5), times(0.9), times(-0.9)], 2],
    ["three that add up to nothing", [times(0.5), times(-1), times(0.5)], 1],
  ])("%s", (_, channels, loudest) => {
    const { samples, warning } = mixDown(channels);
    expect(samples).toBe(channels[loudest]);
    const used = channels.length > 2 ? `channel ${loudest + 1}` : `the ${["left", "right"][loudest]} one`;
    expect(warning).toBe(`the channels cancel each other; only ${used} is used`);
    const resampled = toWaveform({ channels, sampleRate: 8000 }, 16_000);
    expect(resampled).toEqual(toWaveform({ channels: [channels[loudest]], sampleRate: 8000 }, 16_000));
  });

  it.each<[string, Float32Array[]]>([
    ["the same twice", [a, a]],
    ["two speakers", [a, noise(2)]],
    ["half of the inverse", [a, times(-0.5)]],
    ["one silent channel", [zero, a]],
    ["one of eight that is not silent", [zero, zero, a, zero, zero, zero, zero, zero]],
    ["digital silence", [zero, zero]],
    ["two offsets without a sound", [times(0, 0.5), times(0, -0.5)]],
    ["the last bit of 16, inverted", [times(2 ** -15), times(-(2 ** -15))]],
    ["no samples", [new Float32Array(0), new Float32Array(0)]],
    ["one channel", [a]],
  ])("no alarm: %s", (_, channels) => {
    expect(mixDown(channels)).toEqual({ samples: toMono(channels) });
  });
});

// Plan: channels by number from 1 and by name; a channel that is missing is refused, with those
// that exist.
describe("pickChannel", () => {
  const clip = { channels: [a, zero], sampleRate: 8000, damage: "cut" };

  it("gives the channel and all else of the clip", () => {
    expect(pickChannel(clip, 2)).toEqual({ channels: [zero], sampleRate: 8000, damage: "cut" });
    const names = eachChannel(clip).map(({ channel, label, audio }) => [channel, label, audio.channels[0]]);
    expect(names).toEqual([
      [1, "left", a],
      [2, "right", zero],
    ]);
    const labels = eachChannel({ channels: [a, a, a], sampleRate: 8000 }).map(({ label }) => label);
    expect(labels).toEqual(["1", "2", "3"]);
  });

  it.each([
    [1, 2, "1, the only one"],
    [2, 3, "1 (left) or 2 (right)"],
    [2, 0, "1 (left) or 2 (right)"],
    [2, 1.5, "1 (left) or 2 (right)"],
    [6, 7, "1..6"],
  ])("of %i channels refuses %d", (count, channel, names) => {
    const pick = (): unknown =>
      pickChannel({ channels: Array<Float32Array>(count).fill(a), sampleRate: 8000 }, channel, "a.wav");
    expect(pick).toThrow(AudioError);
    expect(pick).toThrow(
      `a.wav: channel: expected ${names}, got ${channel}; name one of these, or leave the channel out`,
    );
  });
});
