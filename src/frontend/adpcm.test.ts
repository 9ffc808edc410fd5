import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { AudioError } from "./errors.js";
import { parseWav } from "./wav.js";

const file = (name: string): Buffer =>
  readFileSync(new URL(`../../test/fixtures/audio/adpcm-${name}.wav`, import.meta.url));
const NAMES = ["ms-mono", "ms-stereo", "ima-mono", "ima-stereo"];

/** SHA-256 of the interleaved samples as s16le. */
function digest(channels: Float32Array[]): string {
  const samples = new Int16Array(channels.length * channels[0].length);
  for (const [c, channel] of channels.entries())
    for (const [i, value] of channel.entries()) samples[i * channels.length + c] = value * 32768;
  return createHash("sha256").update(samples).digest("hex");
}

/** The fixture with another value in a field of its header. */
function edited(name: string, field: number | string, value: number, bytes: 1 | 2 | 4 = 4): Buffer {
  const copy = Buffer.from(file(name));
  copy.writeUIntLE(value, typeof field === "number" ? field : copy.indexOf(field) + 8, bytes);
  return copy;
}

// Plan: every sample is the one that ffmpeg 5.1 decodes (`ffmpeg -i FILE -f s16le - | sha256sum`).
describe("ADPCM in WAV", () => {
  test.each([
    ["ms-mono", 8144, "0d225501b526646e6a9a570145a4880cab667d77641a07c30b86ca703c96486d"],
    ["ms-stereo", 5612, "970b4b8e1a7a018736656ccaf11e166b2409b1d435a646821609232a2f463e01"],
    ["ima-mono", 8164, "579d54bcbe2aa486644b491ff30d162536cc7c7118644482d8111ce26eba2705"],
    ["ima-stereo", 5727, "0ed77f727d4ea5df781782f45da5b5a14c61f86310cf98acf94d22610a35bd0f"],
  ])("%s", (name, length, sha) => {
    const { channels, sampleRate, damage } = parseWav(file(name), name);
    expect([channels[0].length, sampleRate, damage, digest(channels)]).toEqual([
      length,
      16000,
      undefined,
      sha,
    ]);
  });

  test.each(NAMES)("%s: the count of the fact chunk ends the last block, no earlier one", (name) => {
    const whole = parseWav(file(name), name);
    const { length } = whole.channels[0];
    for (const [counted, want] of [
      [length - 7, length - 7],
      [1, length],
      [0, length],
      [length + 1, length],
      [0xffffffff, length],
    ]) {
      const { channels, damage } = parseWav(edited(name, "fact", counted), name);
      expect([channels[0].length, damage]).toEqual([want, undefined]);
      expect(channels[0]).toEqual(whole.channels[0].subarray(0, want));
    }
  });

  // One block and a short one are left: whole groups of it are read, and the loss is reported.
  test.each([
    ["ms-mono", 1024 + 100, 2036 + 188],
    ["ms-stereo", 256 + 100, 244 + 88],
    ["ima-mono", 1024 + 103, 2041 + 193],
    ["ima-stereo", 256 + 103, 249 + 89],
  ])("%s cut short", (name, left, want) => {
    const whole = parseWav(file(name), name).channels;
    const bytes = file(name);
    const { channels, damage } = parseWav(bytes.subarray(0, bytes.indexOf("data") + 8 + left), name);
    expect(channels).toEqual(whole.map((channel) => channel.subarray(0, want)));
    const seconds = (count: number): string => (count / 16000).toFixed(2);
    expect(damage).toBe(
      `${seconds(want)} s could be read of the ${seconds(whole[0].length)} s in the header`,
    );
  });

  test.each([
    ["ms-mono", 0, 7],
    ["ms-stereo", 1, 7],
    ["ima-mono", 2, 89],
    ["ima-stereo", 6, 89],
  ])("%s: a block with a wrong head is silent, the others are as they were", (name, at, value) => {
    const bytes = file(name);
    const [data, block] = [bytes.indexOf("data") + 8, bytes.readUInt16LE(32)];
    bytes[data + block + at] = value;
    const { channels, damage } = parseWav(bytes, name);
    const frames = bytes.readUInt16LE(38);
    const want = parseWav(file(name), name).channels.map((c) => c.fill(0, frames, 2 * frames));
    expect(channels).toEqual(want);
    expect(damage).toBe("blocks that could not be read are silent: 1");
  });

  test.each([
    [edited("ms-mono", 32, 6, 2), "fmt.blockAlign: expected at least 7, got 6"],
    [edited("ms-stereo", 32, 13, 2), "fmt.blockAlign: expected at least 14, got 13"],
    [edited("ima-mono", 32, 0, 2), "fmt.blockAlign: expected at least 4, got 0"],
    [edited("ima-stereo", 22, 3, 2), "fmt.channels: expected 1 or 2 for IMA ADPCM, got 3"],
    [edited("ima-mono", 34, 3, 2), "fmt.bitsPerSample: expected 4 for IMA ADPCM, got 3"],
    [
      file("ms-mono").subarray(0, 96),
      "data.size: expected at least the 7 bytes that a block begins with, got 6",
    ],
  ])("refusal %#", (bytes, message) => {
    expect(() => parseWav(bytes, "x.wav")).toThrow(`x.wav: ${message}`);
  });
});

// Plan: 12,000 damaged files, or FUZZ: each gives at most two samples a byte, or an AudioError of
// one line.
it("any bytes", () => {
  const edit = fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 128, 255)));
  const seeds = NAMES.map((name) => file(name).subarray(0, 900));
  const check = (seed: Buffer, edits: [number, number][], cut: number | null, head: boolean): void => {
    const bytes = new Uint8Array(seed);
    for (const [at, value] of edits) bytes[at % (head ? 96 : bytes.length)] = value;
    try {
      const { channels } = parseWav(cut === null ? bytes : bytes.subarray(0, cut), "any.wav");
      expect(channels.length * channels[0].length).toBeLessThanOrEqual(2 * bytes.length);
      expect(channels.every((c) => c.every((v) => v >= -1 && v < 1))).toBe(true);
    } catch (error) {
      if (!(error instanceof AudioError)) throw error;
      expect(error.message).toMatch(/^any\.wav: [^\n]+$/);
    }
  };
  const many = fc.array(edit, { maxLength: 8 });
  const inputs = [fc.constantFrom(...seeds), many, fc.option(fc.nat(900)), fc.boolean()] as const;
  fc.assert(fc.property(...inputs, check), { numRuns: fuzzRuns(12_000) });
});
