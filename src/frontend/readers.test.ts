import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { Budget } from "./budget.js";
import { decodeAudio } from "./decode.js";
import { streamInfo } from "./flac-frames.js";
import { Hearing } from "./hearing.js";
import { mostBoxes } from "./mp4-boxes.js";
import { mostElements, scanWebm } from "./webm-blocks.js";

const file = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url)));
type Bytes = Uint8Array | readonly number[];
const cat = (...parts: readonly Bytes[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts.map((part) => Uint8Array.from(part))));
const ascii = (text: string): number[] => [...Buffer.from(text, "latin1")];
const u32 = (...values: readonly number[]): number[] =>
  values.flatMap((v) => [v >>> 24, (v >> 16) & 255, (v >> 8) & 255, v & 255]);
const zeros = (n: number): Uint8Array => new Uint8Array(n);
const indexOf = (bytes: Uint8Array, mark: string): number => Buffer.from(bytes).indexOf(mark, 0, "latin1");

/** A box of MP4. */
const box = (id: string, ...parts: readonly Bytes[]): Uint8Array => {
  const body = cat(...parts);
  return cat(u32(body.length + 8), ascii(id), body);
};

/** An element of Matroska, its size in 4 bytes. */
const element = (id: readonly number[], ...parts: readonly Bytes[]): Uint8Array => {
  const body = cat(...parts);
  return cat(id, u32(0x1000_0000 + body.length), body);
};

/** `speech.m4a`, whose index is its last box, with more boxes in the index in place of its tags. */
const withTags = (...boxes: readonly Uint8Array[]): Uint8Array => {
  const bytes = file("speech.m4a");
  bytes.set(ascii("skip"), indexOf(bytes, "udta"));
  const moov = indexOf(bytes, "moov") - 4;
  return cat(bytes.subarray(0, moov), box("moov", bytes.subarray(moov + 8), ...boxes));
};
const cover = (...bytes: readonly Bytes[]): Uint8Array =>
  box("udta", box("meta", u32(0), box("ilst", box("covr", box("data", u32(13, 0), ...bytes)))));

// Plan: ids of boxes and codecs change nothing in a cover or other bytes.
describe("ids elsewhere", () => {
  it.each(["dfLa", "dOps", "esds", "moov", "stco", "stsz", "trun"])("%s in a cover", async (id) => {
    const whole = await decodeAudio(file("speech.m4a"), "x");
    expect(await decodeAudio(withTags(cover(ascii(id), u32(~0, ~0, ~0, ~0), zeros(40))), "x")).toEqual(whole);
  });

  it("dfLa behind an M4A", async () => {
    const whole = await decodeAudio(file("speech.m4a"), "x");
    const bytes = cat(file("speech.m4a"), box("free", ascii("dfLa"), zeros(40)));
    expect(await decodeAudio(bytes, "x")).toEqual(whole);
  });

  it("A_FLAC and fLaC in a WebM of Opus", async () => {
    const whole = await decodeAudio(file("speech.webm"), "x");
    const bytes = cat(file("speech.webm"), element([0xec], ascii("A_FLAC fLaC"), zeros(40)));
    expect(await decodeAudio(bytes, "x")).toEqual(whole);
  });
});

/** All frames of a FLAC as one sample of an MP4. */
const inMp4 = (flac: Uint8Array): Uint8Array => {
  const { total, channels, rate } = streamInfo(flac, 8);
  const frames = flac.subarray(indexOf(flac, "\xff\xf8"));
  const entry = [u32(0, 1, 0, 0), [0, channels, 0, 16], u32(0), [rate >> 8, rate & 255, 0, 0]];
  const info = [u32(0), [0x80, 0, 0, 34], flac.subarray(8, 42)];
  const index = (place: number): Uint8Array =>
    box(
      "moov",
      box("mvhd", u32(0, 0, 0, rate, total), zeros(80)),
      box(
        "trak",
        box("tkhd", u32(7, 0, 0, 1, 0, total), zeros(60)),
        box(
          "mdia",
          box("mdhd", u32(0, 0, 0, rate, total, 0)),
          box("hdlr", u32(0, 0), ascii("soun"), zeros(13)),
          box(
            "minf",
            box(
              "stbl",
              box("stsd", u32(0, 1), box("fLaC", ...entry, box("dfLa", ...info))),
              box("stts", u32(0, 1, 1, total)),
              box("stsc", u32(0, 1, 1, 1, 1)),
              box("stsz", u32(0, 0, 1, frames.length)),
              box("stco", u32(0, 1, place)),
            ),
          ),
        ),
      ),
    );
  const first = box("ftyp", ascii("M4A "), zeros(4));
  return cat(first, index(first.length + index(0).length + 8), box("mdat", frames));
};

const ebml = element([0x1a, 0x45, 0xdf, 0xa3], element([0x42, 0x82], ascii("matroska")));
/** The entry of an audio track. @param parts  of its codec */
const audioTrack = (...parts: readonly Uint8Array[]): Uint8Array =>
  element([0xae], element([0xd7], [1]), element([0x83], [2]), ...parts);

/** All frames of a FLAC as one block of a Matroska, behind a track that is not read. */
const inMatroska = (flac: Uint8Array): Uint8Array => {
  const [{ rate }, begin] = [streamInfo(flac, 8), indexOf(flac, "\xff\xf8")];
  const hertz = Buffer.alloc(8);
  hertz.writeDoubleBE(rate);
  const track = audioTrack(
    element([0x86], ascii("A_FLAC")),
    element([0x63, 0xa2], ascii("fLaC"), [0x80, 0, 0, 34], flac.subarray(8, 42)),
    element([0xe1], element([0xb5], hertz), element([0x9f], [1])),
  );
  const other = element([0xae], element([0xd7], [2]), element([0x83], [1]));
  const block = element([0xa3], [0x81, 0, 0, 0x80], flac.subarray(begin));
  const cluster = element([0x1f, 0x43, 0xb6, 0x75], element([0xe7], [0]), block);
  const tracks = element([0x16, 0x54, 0xae, 0x6b], other, track);
  return cat(ebml, element([0x18, 0x53, 0x80, 0x67], tracks, cluster));
};

// Plan: FLAC in another container gives the samples of the FLAC file, whose integers are exact.
it.each([
  ["MP4", "speech.flac", inMp4],
  ["MP4", "24bit.flac", inMp4],
  ["Matroska", "speech.flac", inMatroska],
  ["Matroska", "24bit.flac", inMatroska],
])("FLAC in %s: %s", async (_, name, wrapped) => {
  const { channels, sampleRate } = await decodeAudio(file(name), "x");
  const got = await decodeAudio(wrapped(file(name)), "x");
  expect([got.sampleRate, got.damage]).toEqual([sampleRate, undefined]);
  expect(got.channels).toEqual(channels);
});

const sum8 = (bytes: Bytes): number => {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let i = 0; i < 8; i++) sum = sum & 0x80 ? ((sum << 1) ^ 7) & 255 : sum << 1;
  }
  return sum;
};
const sum16 = (bytes: Bytes): number[] => {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let i = 0; i < 8; i++) sum = sum & 0x8000 ? ((sum << 1) ^ 0x8005) & 0xffff : sum << 1;
  }
  return [sum >> 8, sum & 255];
};

// Plan: a damaged last frame is tried at few places, whatever the number of streams and of places
// that fit.
it.each<[string, Bytes]>([
  ["zeros", cat(zeros(2000), [1])],
  ["bytes with their checksum, again and again", cat(...Array<number[]>(700).fill([1, ...sum16([1])]), [1])],
])("FLAC with %s behind a damaged frame", async (_, tail) => {
  const info = zeros(34);
  info.set([0x10, 0, 0x10, 0]); // 4096 samples a frame
  info.set([0x03, 0xe8, 0, 0xf0, ...u32(4096)], 10); // 16 kHz, mono, 16 bits
  const head = [0xff, 0xf8, 0xc0, 0x08, 0];
  const frame = [...head, sum8(head), 0x3e, 0x12, 0x34]; // a reserved kind of subframe
  const stream = cat(ascii("fLaC"), [0x80, 0, 0, 34], info, frame, sum16(frame), tail);
  const pause = vi.spyOn(Budget.prototype, "pause");
  await expect(decodeAudio(cat(...Array<Uint8Array>(40).fill(stream)), "x")).rejects.toThrow("no samples");
  expect(pause.mock.calls.length).toBeLessThan(1000);
  pause.mockRestore();
});

// Plan: a group of one block is kept whole; other groups give their blocks one by one, none twice.
describe("groups of a WebM", () => {
  const block = element([0xa1], [0x81, 0, 0, 0x80, 1, 2]);
  const group = (...parts: readonly Uint8Array[]): Uint8Array => element([0xa0], ...parts);
  const chunks = (...groups: readonly Uint8Array[]): number[] => {
    const tracks = element([0x16, 0x54, 0xae, 0x6b], audioTrack());
    const cluster = element([0x1f, 0x43, 0xb6, 0x75], ...groups);
    return [...scanWebm(cat(ebml, tracks, cluster)).chunks].slice(1).map(({ length }) => length);
  };
  const one = group(block, element([0x75, 0xa2], [1]));
  it.each<[string, Uint8Array[], number[]]>([
    ["one block each", [one, one], [one.length, one.length]],
    ["three in one", [group(block, block, block)], Array<number>(3).fill(block.length)],
    ["a group in a group", [group(block, one)], [block.length, block.length]],
    ["a group in a group, in front", [group(one, block)], [block.length, block.length]],
  ])("%s", (_, groups, want) => expect(chunks(...groups)).toEqual(want));
});

// Plan: a file of too many empty boxes or elements is refused by their number.
it.each<[string, Uint8Array, number, string]>([
  ["elements", Uint8Array.of(0xec, 0x80), mostElements, "\x1a\x45\xdf\xa3\x80"],
  ["boxes", box("free"), mostBoxes, "\0\0\0\x08ftyp"],
])("refuses %s past a limit", async (name, one, most, head) => {
  const bytes = new Uint8Array(head.length + most * one.length);
  for (let at = head.length; at < bytes.length; at += one.length) bytes.set(one, at);
  bytes.set(ascii(head));
  await expect(decodeAudio(bytes, "x")).rejects.toThrow(
    `x: ${name}: expected at most ${most}, got ${most + 1}; convert it`,
  );
});

// Plan: an Ogg stream with a cut head has no samples.
it.each(["OpusHead", "OpusHead\x01", "\x01vorbis", "\x7fFLAC"])("Ogg: %j alone", async (packet) => {
  const page = cat(ascii("OggS\0\x02"), zeros(20), [1, packet.length], ascii(packet));
  await expect(decodeAudio(page, "x")).rejects.toThrow(
    "x: Ogg data: expected decodable audio (is the file damaged?), got no samples",
  );
});

// Plan: a stream whose rate changes is as long as its parts, whatever the order of its rates.
it.each([[[48_000, 24_000, 32_000]], [[24_000, 48_000, 24_000]], [[16_000, 8000, 16_000, 8000]]])(
  "keeps a stream of %j Hz",
  (rates) => {
    const hearing = new Hearing("x", { rate: 16_000 });
    for (const rate of rates) hearing.push([new Float32Array(rate).fill(0.5)], rate);
    hearing.endStream();
    expect(hearing.finish(false).channels[0].length).toBe(16_000 * rates.length);
  },
);
