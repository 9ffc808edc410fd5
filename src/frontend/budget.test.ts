import { expect, it } from "vitest";
import { checkHead, decodeAudio } from "./decode.js";
import { LongAudioError } from "./errors.js";

/** A FLAC header: STREAMINFO alone. */
function flac(samples: number, rate = 16_000): Uint8Array {
  const bytes = new Uint8Array(42);
  bytes.set([0x66, 0x4c, 0x61, 0x43, 0x80, 0, 0, 34]);
  const view = new DataView(bytes.buffer);
  view.setUint32(18, rate * 2 ** 12 + (15 << 4)); // mono, 16 bits
  view.setUint8(21, Math.floor(samples / 2 ** 32));
  view.setUint32(22, samples);
  return bytes;
}

/**
 * Pages of an Ogg stream: its head, then an empty last page at `granule`; a middle page at `from`
 * where that is not 0.
 */
function ogg(head: number[], granule: number, from = 0): Uint8Array {
  const page = (flags: number, at: number, body: number[]): number[] => {
    const start = new DataView(new ArrayBuffer(27));
    new Uint8Array(start.buffer).set([0x4f, 0x67, 0x67, 0x53, 0, flags]);
    start.setBigUint64(6, BigInt(at), true);
    start.setUint32(14, 7, true);
    start.setUint8(26, 1);
    return [...new Uint8Array(start.buffer), body.length, ...body];
  };
  const middle = from > 0 ? page(0, from, [0]) : [];
  return Uint8Array.from([...page(2, 0, head), ...middle, ...page(4, granule, [0])]);
}

const ascii = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));
const opus = [...ascii("OpusHead"), 1, 1, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0];
const vorbis = [1, ...ascii("vorbis"), 0, 0, 0, 0, 1, 0x80, 0x3e, 0, 0, ...new Array<number>(14).fill(0)];

function wav(seconds: number): Uint8Array {
  const bytes = new Uint8Array(44 + 2 * 8000 * seconds);
  const view = new DataView(bytes.buffer);
  bytes.set(ascii("RIFF____WAVEfmt "));
  view.setUint32(4, bytes.length - 8, true);
  view.setUint32(16, 16, true);
  view.setUint32(20, 0x10001, true);
  view.setUint32(24, 8000, true);
  view.setUint32(28, 16_000, true);
  view.setUint32(32, 0x100002, true);
  bytes.set(ascii("data"), 36);
  view.setUint32(40, bytes.length - 44, true);
  return bytes;
}

/** Frames of MPEG 2, layer III, 8 kbit/s at 16 kHz, of 36 ms each. */
function mp3(seconds: number): Uint8Array {
  const bytes = new Uint8Array(36 * Math.ceil(seconds / 0.036));
  for (let at = 0; at < bytes.length; at += 36) bytes.set([0xff, 0xf3, 0x18, 0xc0], at);
  return bytes;
}

// Plan: a clip that is too long by its header is refused before it is decoded: none of these holds
// audio.
it.each([
  ["FLAC", flac(3 * 3600 * 16_000), "10800.0"],
  ["FLAC, more samples than 32 bits count", flac(2 ** 33), "536870.9"],
  ["Opus", ogg(opus, 48_000 * 3601, 48_000), "3600.0"],
  ["Vorbis", ogg(vorbis, 16_000 * 3601, 16_000), "3600.0"],
  ["Vorbis that does not begin at 0", ogg(vorbis, 16_000 * 4000, 16_000 * 400), "3600.0"],
  ["WAV", wav(100), "100.0"],
  ["MP3", mp3(72), "72.0"],
])("refuses %s by the length in its header", async (_, file, got) => {
  const refused = decodeAudio(file, "x", { maxSeconds: 60.4 });
  await expect(refused).rejects.toBeInstanceOf(LongAudioError);
  await expect(refused).rejects.toMatchObject({ name: "AudioError", mostSeconds: 60.4 });
  await expect(refused).rejects.toThrow(
    `x: prompt: expected at most 60 s, which fill the model's positions, got ${got} s; cut the clip into parts of 60 s at most`,
  );
});

it("takes a stream's length from its first page on", async () => {
  const live = ogg(vorbis, 16_000 * 4030, 16_000 * 4000);
  await expect(decodeAudio(live, "x", { maxSeconds: 60 })).rejects.not.toThrow("prompt");
});

it("takes a clip of the allowed length", async () => {
  const { channels } = await decodeAudio(wav(60), "x", { maxSeconds: 60 });
  expect(channels[0]).toHaveLength(480_000);
});

// Plan: the head alone decides on unknown containers and on WAV, with the size of the whole file.
it.each([
  ["zeros", new Uint8Array(65_536), "container: expected WAV"],
  ["a WAV", wav(100).subarray(0, 65_536), "prompt: expected at most 60 s"],
])("refuses %s by its first bytes", (_, head, message) => {
  expect(() => checkHead(head, 2 ** 30, "x", { maxSeconds: 60 })).toThrow(message);
});

it.each([
  ["a short WAV", wav(50).subarray(0, 65_536), 800_044],
  ["a FLAC", flac(1), 2 ** 20],
  ["an ID3 tag", Uint8Array.from(ascii("ID3\x04")), 2 ** 20],
])("lets %s be read", (_, head, size) => {
  expect(() => checkHead(head, size, "x", { maxSeconds: 60 })).not.toThrow();
});

// Plan: a signal ends the decoding with its reason.
it("ends with the signal's reason", async () => {
  const reason = new Error("enough");
  await expect(decodeAudio(wav(1), "x", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

it("ends within a stream", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const decoding = decodeAudio(mp3(3600), "x", { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 0);
  await expect(decoding).rejects.toBe(reason);
});
