import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { checkHead, decodeAudio, headBytes } from "./decode.js";

const file = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url)));
const join = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array =>
  new Uint8Array(parts.flatMap((part) => [...part]));
const zeros = (n: number): Uint8Array => new Uint8Array(n);
const noise = (n: number): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => ((i * i * 31 + i * 7) >> 3) & 255);

/** An ID3v2 tag with `size` bytes in its body. */
const id3 = (size: number, flags = 0): Uint8Array =>
  join(
    Buffer.from("ID3"),
    [4, 0, flags, 0, 0, size >> 7, size & 127],
    zeros(size),
    flags ? Buffer.from("3DI0123456") : [],
  );
const ape = join(Buffer.from("APETAGEX"), [0xd0, 7, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0], zeros(12 + 40));

const all = [
  "speech.mp3",
  "speech.aac",
  "speech.flac",
  "speech.ogg",
  "speech.opus",
  "speech.m4a",
  "speech.webm",
  "speech.wav",
];

/** Decodes as the command line does: the first bytes decide first. */
async function decoded(bytes: Uint8Array): Promise<unknown> {
  checkHead(bytes.subarray(0, headBytes), bytes.length, "x", {});
  return decodeAudio(bytes, "x");
}

// Plan: tags in front of any container change nothing.
describe.each([
  ["an ID3v2 tag", id3(130)],
  ["80,000 bytes of ID3v2 tags", join(...Array.from({ length: 5 }, () => id3(16_000)))],
  ["an ID3v2 tag with a footer", id3(20, 16)],
  ["two ID3v2 tags", join(id3(20), id3(300))],
  ["an APE tag", ape],
])("%s", (_, tag) => {
  it.each(all)("in front of %s", async (name) => {
    expect(await decoded(join(tag, file(name)))).toEqual(await decodeAudio(file(name), "x"));
  });
});

// Plan: other bytes in front of audio change nothing, where the audio is certain.
describe.each([
  ["10 zeros", zeros(10)],
  ["3 bytes of a byte order mark", Uint8Array.of(0xef, 0xbb, 0xbf)],
  ["1000 zeros", zeros(1000)],
  ["30,000 bytes of noise", noise(30_000)],
  ["a tag, then zeros", join(id3(20), zeros(700))],
])("%s", (_, lead) => {
  it.each(["speech.mp3", "speech.aac", "speech.flac", "speech.ogg", "speech.opus", "flac.ogg", "speech.wav"])(
    "in front of %s",
    async (name) => {
      expect(await decoded(join(lead, file(name)))).toEqual(await decodeAudio(file(name), "x"));
    },
  );
});

// Plan: a stream cut at its front is read from its first whole frame on.
it.each([
  ["speech.mp3", 150],
  ["speech.aac", 20],
])("%s without its first %i bytes", async (name, lost) => {
  const whole = await decodeAudio(file(name), "x");
  const { channels, sampleRate } = await decodeAudio(file(name).subarray(lost), "x");
  expect(sampleRate).toBe(whole.sampleRate);
  expect(Math.abs(channels[0].length - whole.channels[0].length)).toBeLessThan(2200);
});

it.each(["wide", "free", "skip"])("reads a QuickTime file that begins with %s", async (id) => {
  const bytes = file("speech.m4a");
  bytes.set(Buffer.from(id), 4);
  expect(await decoded(bytes)).toEqual(await decodeAudio(file("speech.m4a"), "x"));
});

// Plan: a file without a run of frames is refused, by the name of its format where that is known.
it.each([
  ["noise", noise(70_000), "x: container: expected WAV"],
  [
    "one frame in noise",
    join(noise(500), file("speech.mp3").subarray(200, 350), noise(500)),
    "x: container: ",
  ],
  ["zeros far in front of audio", join(zeros(40_000), file("speech.wav")), "x: container: expected WAV"],
  [
    "Monkey's Audio behind a tag",
    join(id3(20), Buffer.from("MAC "), zeros(50)),
    "got Monkey's Audio, which is",
  ],
])("refuses %s", async (_, bytes, message) => {
  await expect(decoded(bytes)).rejects.toThrow(message);
});

it.each([
  ["a tag alone", id3(20), "x: MP3 data: "],
  ["a tag that passes the end", id3(200).subarray(0, 100), "x: MP3 data: "],
])("refuses %s", async (_, bytes, message) => {
  await expect(decoded(bytes)).rejects.toThrow(message);
});

// Plan: an array of samples is refused, whatever its width.
it.each([new Float32Array(100), new Float64Array(100), new Int16Array(100), new Uint16Array(100)])(
  "refuses samples in place of a file: %#",
  async (samples) => {
    const given = samples as unknown as Uint8Array;
    await expect(decodeAudio(given, "x")).rejects.toThrow(
      `decodeAudio: file: expected the file's bytes: Uint8Array, ArrayBuffer or Blob, got an object of class ${samples.constructor.name}`,
    );
  },
);

it("keeps the console that a caller sets while it decodes", async () => {
  const { error } = console;
  const callersError = (): void => undefined;
  try {
    const decoding = decodeAudio(file("speech.mp3"), "x");
    await new Promise((resolve) => setImmediate(resolve));
    console.error = callersError;
    await decoding;
    expect(console.error).toBe(callersError);
  } finally {
    console.error = error;
  }
});
