import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeAudio } from "./decode.js";

const file = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url)));
const cat = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array =>
  new Uint8Array(parts.flatMap((part) => [...part]));
const ascii = (text: string): number[] => [...Buffer.from(text, "latin1")];
const u32 = (value: number): number[] => [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
const zeros = (n: number): Uint8Array => new Uint8Array(n);
const noise = (n: number): Uint8Array => {
  let state = 1;
  return Uint8Array.from({ length: n }, () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) >> 16);
};
const id3v1 = cat(ascii("TAG"), new Uint8Array(125).fill(120));
const apeHead = ascii("APETAGEX").concat([0xd0, 7, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0]);
const ape = cat(apeHead, [0, 0, 0, 0xa0], zeros(8 + 40), apeHead, [0, 0, 0, 0x80], zeros(8));
const id3v2 = cat(ascii("ID3"), [4, 0, 0, 0, 0, 0, 63], zeros(63));

const tails: [string, Uint8Array][] = [
  ["an ID3v1 tag", id3v1],
  ["an APE tag and an ID3v1 tag", cat(ape, id3v1)],
  ["3000 bytes of noise", noise(3000)],
  ["zeros", zeros(700)],
];
const names = [
  "speech.flac",
  "24bit.flac",
  "speech.m4a",
  "speech.aac",
  "speech.mp3",
  "speech.ogg",
  "speech.webm",
];

// Plan: bytes behind the last frame or box change nothing and are no damage.
describe.each(tails)("behind the end: %s", (_, tail) => {
  it.each(names)("%s", async (name) => {
    const whole = await decodeAudio(file(name), "x");
    expect(whole.damage).toBeUndefined();
    expect(await decodeAudio(cat(file(name), tail), "x")).toEqual(whole);
  });
});

/** FLAC whose header does not say how long it is, as of a writer that cannot seek. */
const unknownLength = (): Uint8Array => {
  const bytes = file("speech.flac");
  bytes.fill(0, 22, 26);
  return bytes;
};

it.each(tails)("FLAC of unknown length keeps its last frame in front of %s", async (_, tail) => {
  const whole = await decodeAudio(unknownLength(), "x");
  expect(whole.channels[0].length).toBe(8000);
  expect(await decodeAudio(cat(unknownLength(), tail), "x")).toEqual(whole);
});

/**
 * WebM whose segment and clusters have no sizes, as MediaRecorder writes it, without what stands
 * behind its blocks.
 */
const recorded = (): Uint8Array => {
  const bytes = Buffer.from(file("speech.webm"));
  for (const id of [
    [0x18, 0x53, 0x80, 0x67],
    [0x1f, 0x43, 0xb6, 0x75],
  ])
    for (let at = bytes.indexOf(Buffer.from(id)); at >= 0; at = bytes.indexOf(Buffer.from(id), at + 1)) {
      const length = Math.clz32(bytes[at + 4]) - 23;
      bytes.set([2 ** (8 - length) + 2 ** (8 - length) - 1, ...new Uint8Array(length - 1).fill(255)], at + 4);
    }
  return bytes.subarray(0, bytes.lastIndexOf(Buffer.from([0x1c, 0x53, 0xbb, 0x6b])));
};

// Plan: a recording without sizes ends with its last block; a part of a block is a cut.
it.each(tails)("WebM without sizes in front of %s", async (_, tail) => {
  const whole = await decodeAudio(recorded(), "x");
  expect([whole.channels[0].length > 20_000, whole.damage]).toEqual([true, undefined]);
  expect(await decodeAudio(cat(recorded(), tail), "x")).toEqual(whole);
  const cut = cat(recorded().subarray(0, -20));
  expect((await decodeAudio(cut, "x")).damage).toBe("cut short: an element passes its end");
});

it("WebM that is cut within its segment is reported with other bytes behind", async () => {
  const bytes = cat(file("speech.webm").subarray(0, -900), [0x42, 0x87, 0x7f, 0xff, 1]);
  expect((await decodeAudio(bytes, "x")).damage).toBe("cut short: an element passes its end");
});

it("FLAC that is cut, and has a tag behind, is reported", async () => {
  const { damage } = await decodeAudio(cat(file("speech.flac").subarray(0, 15_000), id3v1), "x");
  expect(damage).toBe("4608 of its 8000 samples could be decoded");
});

// Plan: an M4A that ends within a known box behind its samples is reported, and its samples are
// read.
it.each(["free", "moof", "mfra"])("M4A cut in %s", async (id) => {
  const whole = await decodeAudio(file("speech.m4a"), "x");
  const bytes = cat(file("speech.m4a"), u32(5000), ascii(id), zeros(100));
  expect(await decodeAudio(bytes, "x")).toEqual({ ...whole, damage: "cut short: its last box ends early" });
});

// Plan: segments of a live stream, each behind a tag, are one stream: no damage, and no codec delay
// between.
it.each([
  ["ID3v2", id3v2],
  ["ID3v1 and ID3v2", cat(id3v1, id3v2)],
])("AAC segments with %s tags between", async (_, tag) => {
  const bytes = file("speech.aac");
  const together = await decodeAudio(cat(bytes, bytes, bytes), "x");
  expect(await decodeAudio(cat(tag, bytes, tag, bytes, tag, bytes), "x")).toEqual(together);
  expect(together.damage).toBeUndefined();
});

// Plan: AAC of two rates is joined at the highest rate of its decoders, with `keep` or without.
it("AAC of two rates is as long as its parts", async () => {
  const first = file("speech.aac");
  const second = file("speech.aac"); // at 8 kHz by its headers: twice as long
  for (let at = 0; at < second.length;) {
    second[at + 2] = (second[at + 2] & ~0x3c) | (11 << 2);
    at += ((second[at + 3] & 3) << 11) | (second[at + 4] << 3) | (second[at + 5] >> 5);
  }
  const [a, b] = [await decodeAudio(first, "x"), await decodeAudio(second, "x")];
  const seconds = a.channels[0].length / a.sampleRate + b.channels[0].length / b.sampleRate;
  const both = await decodeAudio(cat(first, second), "x");
  expect([both.sampleRate, both.channels.length]).toEqual([a.sampleRate, 1]);
  expect(both.channels[0].length / both.sampleRate).toBeCloseTo(seconds, 3);
  const kept = await decodeAudio(cat(first, second), "x", { keep: { rate: a.sampleRate } });
  expect(kept.channels[0].length).toBe(both.channels[0].length);
  expect(kept.seconds).toBeCloseTo(seconds, 3);
});

// Plan: a stream is mono by its header, not because its two channels are equal.
describe("equal channels", () => {
  /** Silent frames of MPEG 2, 16 kHz. */
  const frames = (mode: number): Uint8Array =>
    cat(...Array.from({ length: 20 }, () => cat([0xff, 0xf3, 0x48, mode], zeros(140))));
  it.each([
    ["joint stereo", 0x44, 2],
    ["stereo", 0x04, 2],
    ["mono", 0xc4, 1],
  ])("MP3: %s", async (_, mode, count) => {
    const { channels } = await decodeAudio(frames(mode), "x");
    expect(channels.length).toBe(count);
    const right = decodeAudio(frames(mode), "x", { keep: { rate: 16_000, channel: 2 } });
    if (count === 2) expect((await right).channels.length).toBe(1);
    else await expect(right).rejects.toThrow("x: channel: expected 1, the only one, got 2");
  });

  it.each([
    ["mp3.mp4", 1],
    ["mp3-stereo.mp4", 2],
  ])("%s", async (name, count) => {
    expect((await decodeAudio(file(name), "x")).channels.length).toBe(count);
  });

  it("AAC in M4A of one channel", async () => {
    const keep = { rate: 16_000, channel: 2 };
    await expect(decodeAudio(file("speech.m4a"), "x", { keep })).rejects.toThrow("1, the only one, got 2");
  });
});

// Plan: too many streams are refused by their number.
it("refuses 501 runs of MP3", async () => {
  const run = (mode: number): Uint8Array =>
    cat(...Array.from({ length: 3 }, () => cat([0xff, 0xf3, 0x14, mode], zeros(20))));
  const bytes = cat(...Array.from({ length: 501 }, (_, i) => run(i % 2 === 0 ? 0x04 : 0xc4)));
  await expect(decodeAudio(bytes, "x")).rejects.toThrow(
    "x: streams one after another: expected at most 500, got 501; convert it",
  );
});

/** 16-bit mono at 16 kHz. @param size  of the data chunk by its header */
const wav = (data: Uint8Array, size = data.length): Uint8Array => {
  const head = Buffer.alloc(44);
  head.write("RIFF\0\0\0\0WAVEfmt ", 0, "latin1");
  head.writeUInt32LE(size + 36, 4);
  head.set([16, 0, 0, 0, 1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0], 16);
  head.write("data", 36);
  head.writeUInt32LE(size, 40);
  return cat(head, data);
};

/** 16-bit mono at 16 kHz. @param frames  by COMM */
const aiff = (data: Uint8Array, frames: number): Uint8Array =>
  cat(
    ascii("FORM"),
    u32(46 + data.length),
    ascii("AIFFCOMM"),
    u32(18),
    [0, 1, ...u32(frames), 0, 16, 0x40, 0x0c, 0xfa, 0, 0, 0, 0, 0, 0, 0],
    ascii("SSND"),
    u32(8 + data.length),
    zeros(8),
    data,
  );

// Plan: AIFF with a wrong count and a whole chunk is read by its chunk.
it.each([2000, 1000, 4000, 0xffffffff])("AIFF that counts %d of 2000 frames", async (frames) => {
  const { channels, damage } = await decodeAudio(aiff(noise(4000), frames), "x");
  expect([channels[0].length, damage]).toEqual([2000, undefined]);
});

it("AIFF that is cut is reported", async () => {
  const { damage } = await decodeAudio(aiff(noise(4000), 2000).subarray(0, -1000), "x");
  expect(damage).toBe("0.09 s could be read of the 0.13 s in the header");
});

// Plan: a second file behind the samples of WAV or AIFF is reported and not read.
it.each([
  ["WAV", wav(noise(4000))],
  ["AIFF", aiff(noise(4000), 2000)],
])("two of %s", async (_, bytes) => {
  const { channels, damage } = await decodeAudio(cat(bytes, bytes), "x");
  expect([channels[0].length, damage]).toEqual([2000, "another file follows its samples and was left out"]);
});
