import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeAudio } from "./decode.js";
import { AudioError } from "./errors.js";
import { toWaveform } from "./features.js";

const path = (name: string): string =>
  fileURLToPath(new URL(`../../test/fixtures/audio/${name}`, import.meta.url));
const file = (name: string): Uint8Array => new Uint8Array(readFileSync(path(name)));

/** Cosine of two signals that need no alignment. */
function correlation(a: Float32Array, b: Float32Array): number {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / Math.sqrt(aa * bb);
}

// Plan: the same half second of speech from every container has the original's length and lies on top of it: an offset of
// one sample, or an encoder delay left in, lowers the correlation below the bound. Lossless is equal, sample for sample.
describe("decodeAudio: containers", () => {
  it.each([
    ["speech.mp3", 16000, 0.99],
    ["speech.ogg", 16000, 0.99],
    ["speech.opus", 48000, 0.95],
    ["speech.m4a", 16000, 0.99],
  ])("%s", async (name, rate, bound) => {
    const original = await decodeAudio(file("speech.wav"), "speech.wav");
    const decoded = await decodeAudio(file(name), name);
    expect([decoded.sampleRate, decoded.channels.length]).toEqual([rate, 1]);
    expect(decoded.channels[0].length / rate).toBe(original.channels[0].length / 16000);
    const at16k = toWaveform(decoded, 16000);
    expect(correlation(at16k, original.channels[0])).toBeGreaterThan(bound);
    expect(correlation(at16k.subarray(2), original.channels[0])).toBeLessThan(bound);
  });

  it.each([
    ["speech.flac", "speech.wav"],
    ["24bit.flac", "24bit.wav"],
  ])("%s equals %s", async (flac, wav) => {
    expect(await decodeAudio(file(flac), flac)).toEqual(await decodeAudio(file(wav), wav));
  });

  it("reads FLAC after an ID3 tag", async () => {
    const tag = [...Buffer.from("ID3"), 4, 0, 0, 0, 0, 1, 2, ...new Array<number>(130).fill(0)]; // 1 * 128 + 2 bytes
    const tagged = new Uint8Array([...tag, ...file("speech.flac")]);
    expect(await decodeAudio(tagged, "tagged")).toEqual(await decodeAudio(file("speech.wav"), "speech.wav"));
  });

  it("reads a view into a larger buffer", async () => {
    const bytes = file("speech.mp3");
    const padded = new Uint8Array([1, 2, 3, ...bytes, 4]);
    expect(await decodeAudio(padded.subarray(3, 3 + bytes.length), "view")).toEqual(
      await decodeAudio(bytes, "whole"),
    );
  });
});

// Plan: a file that decodes in part says so and is refused where `strict` is set, a whole one neither.
describe("decodeAudio: damage", () => {
  it.each([
    ["speech.m4a", 0.4, "0.45 s could be decoded of the 0.50 s in the header"],
    ["speech.opus", 0.6, "1 damaged frame was skipped"],
  ])("%s", async (name, share, said) => {
    const bytes = file(name);
    expect((await decodeAudio(bytes, name, { strict: true })).damage).toBeUndefined();
    const at = Math.floor(bytes.length * share);
    for (let i = 0; i < 60; i++) bytes[at + i] = (i * 37 + 11) & 255;
    expect((await decodeAudio(bytes, name)).damage).toBe(said);
    await expect(decodeAudio(bytes, name, { strict: true })).rejects.toThrow(
      `${name}: audio: expected a whole file (--strict), got ${said}; copy or download it again`,
    );
  });
});

// Plan: what is no audio, or damaged audio, is one line that names the file; a damaged count cannot exhaust the memory.
describe("decodeAudio: refusals", () => {
  const damage = (name: string, from: string, offset: number, value: number): Uint8Array => {
    const bytes = file(name);
    const at = Buffer.from(bytes).indexOf(from) + offset;
    new DataView(bytes.buffer).setUint32(at, value);
    return bytes;
  };
  it.each([
    ["empty", new Uint8Array(), "x: file size: expected more than 0 bytes, got 0"],
    [
      "text",
      new TextEncoder().encode("hello, world"),
      "x: container: expected WAV, MP3, FLAC, Ogg (Vorbis, Opus) or M4A, got a file that begins with 68 65 6c 6c 6f 2c 20 77",
    ],
    [
      "FLAC without frames",
      file("speech.flac").subarray(0, 100),
      "x: FLAC data: expected decodable audio (is the file damaged?), got no samples",
    ],
    [
      "FLAC cut short",
      file("speech.flac").subarray(0, 15_000),
      "x: FLAC data: expected 8000 samples long (is the file cut short?), got 4608",
    ],
    [
      "M4A cut short",
      file("speech.m4a").subarray(0, 600),
      "x: size of the box at byte 36: expected at most 564, the bytes left (is the file cut short?), got 3113",
    ],
    [
      "M4A without its index",
      damage("speech.m4a", "moov", 0, 0x66726565),
      'x: M4A data: expected decodable audio, got "No audio track found in MP4"',
    ],
    [
      "M4A, 4 billion sizes",
      damage("speech.m4a", "stsz", 12, 0xffffffff),
      "x: stsz.entryCount: expected at most 42, what the file can hold, got 4294967295",
    ],
    [
      "M4A, 4 billion equal sizes",
      damage("speech.m4a", "stsz", 8, 0x10000),
      "x: stsz.entryCount: expected at most 0, what the file can hold, got 9",
    ],
  ])("%s", async (_, bytes, message) => {
    const outcome = await decodeAudio(bytes, "x").catch((error: unknown) => error);
    expect(outcome).toBeInstanceOf(AudioError);
    expect((outcome as AudioError).message).toContain(message);
    expect((outcome as AudioError).message).not.toContain("\n");
    expect((outcome as AudioError).message).toMatch(/; (convert it with ffmpeg|copy or download it again)/);
  });

  it.each(["speech.mp3", "speech.flac", "speech.ogg", "speech.opus", "speech.m4a"])(
    "damaged %s",
    async (name) => {
      const source = file(name);
      const edit = fc.record({ at: fc.nat(source.length - 1), value: fc.nat(255), early: fc.boolean() });
      const edits = fc.array(edit, { minLength: 1, maxLength: 8 });
      const damaged = fc.tuple(edits, fc.option(fc.nat(source.length))).map(([list, cut]) => {
        const bytes = new Uint8Array(source);
        for (const { at, value, early } of list)
          bytes[early ? at % 300 : source.length - 1 - (at % 1200)] = value;
        return cut === null ? bytes : bytes.subarray(0, cut);
      });
      const run = async (bytes: Uint8Array): Promise<void> => {
        const outcome = await decodeAudio(bytes, name).catch((error: unknown) => error);
        if (outcome instanceof Error && !(outcome instanceof AudioError)) throw outcome;
      };
      await fc.assert(fc.asyncProperty(damaged, run), { numRuns: 100, seed: 1 });
    },
  );
});

// Plan: a process that decoded with every codec ends by itself.
it("leaves nothing behind that keeps a process alive", () => {
  const names = ["speech.mp3", "speech.flac", "speech.ogg", "speech.opus", "speech.m4a"];
  const module = new URL("../../dist/frontend/decode.js", import.meta.url).href;
  const script = `
    import { readFileSync } from "node:fs";
    import { decodeAudio } from ${JSON.stringify(module)};
    for (const path of ${JSON.stringify(names.map(path))}) {
      const { channels } = await decodeAudio(new Uint8Array(readFileSync(path)), path);
      console.log(channels[0].length);
    }`;
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const out = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd,
    timeout: 60_000,
    encoding: "utf8",
  });
  expect(out.trim().split("\n")).toEqual(["8000", "8000", "8000", "24000", "8000"]);
}, 90_000);
