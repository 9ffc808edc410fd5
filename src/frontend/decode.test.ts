import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { decodeAudio } from "./decode.js";
import { AudioError } from "./errors.js";
import { toWaveform } from "./features.js";
import { scanMp3 } from "./mp3-frames.js";
import { mp4Track } from "./mp4-track.js";
import { oggLinks, oggPages } from "./ogg-pages.js";

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

// Plan: the same half second of speech from every container has the original's length and lies on
// top of it: an offset of one sample, or an encoder delay left in, lowers the correlation below the
// bound. Lossless is equal, sample for sample.
describe("decodeAudio: containers", () => {
  it.each([
    ["speech.mp3", 16000, 0.99],
    ["speech.ogg", 16000, 0.99],
    ["speech.opus", 48000, 0.95],
    ["speech.m4a", 16000, 0.99],
    ["speech.webm", 48000, 0.95],
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
    ["flac.ogg", "speech.wav"],
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

// Plan: a file that decodes in part has `damage`, and is refused with `strict`; a whole one is not.
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

// Plan: a file that ends early is reported, in every container.
describe("decodeAudio: cut files", () => {
  it.each([
    ["speech.mp3", 1500, /^cut short: \d+ of the \d+ frames that it counts are there$/],
    ["speech.opus", 1200, /^cut short: its last page ends early$/],
    ["speech.ogg", 5500, /^cut short: its last page ends early$/],
    ["flac.ogg", 9000, /^cut short: its last page ends early$/],
    ["speech.flac", 15_000, /^4608 of its 8000 samples could be decoded$/],
  ])("%s", async (name, length, said) => {
    const { damage, channels } = await decodeAudio(file(name).subarray(0, length), name);
    expect(damage).toMatch(said);
    expect(channels[0].length).toBeGreaterThan(0);
  });

  it("an Ogg file that ends with a whole page, but not its last", async () => {
    const bytes = file("speech.ogg");
    bytes[Buffer.from(bytes).lastIndexOf("OggS") + 5] &= ~4;
    expect((await decodeAudio(bytes, "x")).damage).toBe("cut short: its last page has no end-of-stream mark");
  });
});

// Plan: bytes after the last frame change nothing and are not reported; decoders print nothing.
describe("decodeAudio: bytes after the end", () => {
  const noise = (n: number): Uint8Array =>
    Uint8Array.from({ length: n }, (_, i) => ((i * i * 31 + i * 7) >> 3) & 255);
  it.each([
    ["zeros", new Uint8Array(1000)],
    ["noise", noise(3000)],
    ["an ID3v1 tag", Uint8Array.from({ length: 128 }, (_, i) => (i < 3 ? "TAG".charCodeAt(i) : 32))],
    ["a header of another rate", new Uint8Array([0xff, 0xfb, 0x90, 0x64, ...noise(200)])],
  ])("%s", async (_, tail) => {
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const whole = await decodeAudio(file("speech.mp3"), "x");
    const bytes = new Uint8Array([...file("speech.mp3"), ...tail]);
    expect(await decodeAudio(bytes, "x")).toEqual(whole);
    expect(said).not.toHaveBeenCalled();
    said.mockRestore();
  });
});

// Plan: each stream of a chain is as long as alone, whatever its rate.
describe("decodeAudio: chains", () => {
  it("Ogg of two codecs and rates", async () => {
    const bytes = new Uint8Array([...file("speech.ogg"), ...file("speech.opus"), ...file("flac.ogg")]);
    const { channels, sampleRate, damage } = await decodeAudio(bytes, "x");
    expect([sampleRate, channels.length, channels[0].length, damage]).toEqual([48000, 1, 72_000, undefined]);
    const alone = await decodeAudio(file("speech.opus"), "x");
    expect(channels[0].subarray(24_000, 48_000)).toEqual(alone.channels[0]);
  });

  it("MP3 frames of two rates", () => {
    const frames = (header: number[], size: number): number[] =>
      Array.from({ length: 4 }, () => [...header, ...new Array<number>(size - 4).fill(0)]).flat();
    const first = frames([0xff, 0xfb, 0x90, 0xc4], 417); // 128 kbit/s at 44.1 kHz
    const second = frames([0xff, 0xf3, 0x80, 0xc4], 288); // 64 kbit/s at 16 kHz of MPEG 2: rate index 0 is 22.05 kHz
    second.forEach((_, i) => i % 288 === 2 && (second[i] = 0x88));
    const { runs } = scanMp3(new Uint8Array([...first, 1, 2, 3, ...second]));
    expect(runs.map(({ rate, samples }) => [rate, samples])).toEqual([
      [44_100, 4608],
      [16_000, 2304],
    ]);
  });
});

// Plan: a long clip is refused by its header, without decoding.
it("refuses hours of FLAC in eight channels from STREAMINFO", async () => {
  const bytes = file("speech.flac");
  bytes[20] |= 7 << 1;
  new DataView(bytes.buffer).setUint32(22, 345_600_000);
  await expect(decodeAudio(bytes, "x")).rejects.toThrow(
    "x: samples: expected at most 536870912 over all channels, got 345600000 in each of 8 channels; cut the clip",
  );
});

// Plan: known formats that are not supported are refused by name.
it.each([
  ["AMR", [...Buffer.from("#!AMR\n")]],
  ["WMA (ASF)", [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11]],
  ["AC-3", [0x0b, 0x77, 1, 2]],
  ["Monkey's Audio", [...Buffer.from("MAC ")]],
  ["CAF", [...Buffer.from("caff")]],
  ["MPEG audio layer II", [0xff, 0xfd, 0x90, 0x64]],
])("refuses %s by name", async (name, bytes) => {
  await expect(
    decodeAudio(new Uint8Array([...bytes, ...new Array<number>(20).fill(0)]), "x"),
  ).rejects.toThrow(`got ${name}, which is not supported; convert it with ffmpeg`);
});

it("reads ADTS", async () => {
  const { channels, sampleRate, damage } = await decodeAudio(file("speech.aac"), "speech.aac");
  expect(channels.length).toBe(1);
  expect(channels[0].length / sampleRate).toBeCloseTo(0.512, 3);
  expect(damage).toBeUndefined();
});

// Plan: 10,000 arbitrary or damaged inputs, or FUZZ: the parsers throw nothing and stay within the
// file.
describe("parsers of MP3 frames, Ogg pages and MP4 boxes", () => {
  it.each(["speech.mp3", "speech.ogg", "speech.m4a"])("%s damaged", (name) => {
    const source = file(name);
    const edits = fc.array(fc.tuple(fc.nat(source.length - 1), fc.nat(255)), { maxLength: 8 });
    const run = ([list, length, raw]: [[number, number][], number, Uint8Array]): void => {
      const bytes = new Uint8Array(source).subarray(0, length);
      for (const [at, value] of list) if (at < length) bytes[at] = value;
      for (const input of [bytes, raw]) {
        for (const { spans } of scanMp3(input).runs)
          for (const [begin, end] of spans) expect(begin < end && end <= input.length).toBe(true);
        for (const link of oggLinks(input).links)
          expect([...oggPages(input, link)].length).toBeGreaterThan(0);
        expect(mp4Track(input).claimed).toBeGreaterThanOrEqual(0);
      }
    };
    const input = fc.tuple(edits, fc.nat(source.length), fc.uint8Array({ maxLength: 200 }));
    fc.assert(fc.property(input, run), { numRuns: fuzzRuns(10_000), seed: 1 });
  });
});

// Plan: other or damaged files are refused in one line that names the file; a damaged count takes
// no memory.
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
      "x: container: expected WAV, AIFF, Wave64, AU, MP3, FLAC, Ogg (Vorbis, Opus, FLAC), M4A, AAC or WebM, got a file that begins with 68 65 6c 6c 6f 2c 20 77",
    ],
    [
      "FLAC without frames",
      file("speech.flac").subarray(0, 100),
      "x: FLAC data: expected decodable audio (is the file damaged?), got no samples",
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

  it.each([
    "speech.mp3",
    "speech.flac",
    "speech.ogg",
    "speech.opus",
    "speech.m4a",
    "speech.aac",
    "speech.webm",
  ])("damaged %s", async (name) => {
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
    await fc.assert(fc.asyncProperty(damaged, run), { numRuns: fuzzRuns(100), seed: 1 });
  });
});

// Plan: a process that decoded with every codec ends by itself.
it("leaves no handle that keeps a process alive", () => {
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
    timeout: 300_000,
    encoding: "utf8",
  });
  expect(out.trim().split("\n")).toEqual(["8000", "8000", "8000", "24000", "8000"]);
});
