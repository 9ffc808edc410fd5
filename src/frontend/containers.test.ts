import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { scanAdts } from "./adts-frames.js";
import { decodeAudio } from "./decode.js";
import { byFlacFrames, flacLength, flacStreams } from "./flac-frames.js";
import { mp4Track } from "./mp4-track.js";
import { oggLinks, opusSamples } from "./ogg-pages.js";
import { scanWebm } from "./webm-blocks.js";

function file(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url)));
}

function cat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function indexOf(bytes: Uint8Array, mark: number[] | string, from = 0): number {
  return Buffer.from(bytes).indexOf(typeof mark === "string" ? mark : Buffer.from(mark), from);
}

/** The file with its ADTS heads at another rate index. */
function atRate(bytes: Uint8Array, index: number): Uint8Array {
  const copy = bytes.slice();
  for (let at = 0; at + 7 <= copy.length;) {
    copy[at + 2] = (copy[at + 2] & 0xc3) | (index << 2);
    at += ((copy[at + 3] & 3) << 11) | (copy[at + 4] << 3) | (copy[at + 5] >> 5);
  }
  return copy;
}

// Plan: each part of `cat a b` keeps its speed; cut WebM and AAC are reported; other bytes at the
// end are skipped.
describe("files one after another", () => {
  it.each(["speech.flac", "speech.mp3", "speech.aac", "speech.ogg", "speech.opus", "flac.ogg"])(
    "%s twice",
    async (name) => {
      const alone = await decodeAudio(file(name), "x");
      const { channels, sampleRate, damage } = await decodeAudio(cat(file(name), file(name)), "x");
      expect([sampleRate, damage]).toEqual([alone.sampleRate, undefined]);
      const { length } = alone.channels[0];
      const missing = 2 * length - channels[0].length; // one decoder goes through both: only AAC's delay and MP3's tag are not twice
      expect(Math.abs(missing) / sampleRate).toBeLessThan(0.15);
    },
  );

  it("AAC of two rates", () => {
    const first = file("speech.aac");
    const second = atRate(first, 11);
    const { runs, damage } = scanAdts(cat(first, second));
    expect(runs.map(({ rate, spans, samples }) => [rate, ...spans.flat(), samples])).toEqual([
      [16_000, 0, first.length, 9216],
      [8000, first.length, 2 * first.length, 9216],
    ]);
    expect(damage).toBeUndefined();
  });
});

describe("cut files", () => {
  it.each([
    ["speech.aac", "cut short: its last frame ends early"],
    ["speech.webm", "cut short: an element passes its end"],
  ])("%s", async (name, damage) => {
    const bytes = file(name);
    const cut = bytes.subarray(0, Math.floor(bytes.length * 0.7));
    const audio = await decodeAudio(cut, "x");
    expect(audio.damage).toBe(damage);
    expect(audio.channels[0].length).toBeGreaterThan(0);
    await expect(decodeAudio(cut, "x", { strict: true })).rejects.toThrow(`got ${damage}`);
  });

  it.each(["speech.aac", "speech.webm", "speech.m4a", "speech.flac"])(
    "%s with zeros behind",
    async (name) => {
      const whole = await decodeAudio(file(name), "x");
      expect(await decodeAudio(cat(file(name), new Uint8Array(3000)), "x")).toEqual(whole);
    },
  );

  it("goes on at the next cluster of a damaged WebM", () => {
    const bytes = file("speech.webm");
    const cluster = indexOf(bytes, [0x1f, 0x43, 0xb6, 0x75]);
    const twice = cat(bytes, new Uint8Array(50).fill(1), bytes.subarray(cluster));
    expect(scanWebm(twice).damage).toBe("bytes between its clusters mean nothing and were left out");
    expect([...scanWebm(twice).chunks].length).toBe(2 * [...scanWebm(bytes).chunks].length - 1);
  });
});

/** The M4A with its index behind the samples, its places moved. */
function indexLast(bytes: Uint8Array): Uint8Array {
  const view = Buffer.from(bytes);
  const moov = indexOf(bytes, "moov") - 4;
  const size = view.readUInt32BE(moov);
  const stco = indexOf(bytes, "stco") + 4;
  for (let i = 0; i < view.readUInt32BE(stco + 4); i++) {
    const at = stco + 8 + 4 * i;
    if (view.readUInt32BE(at) > moov) view.writeUInt32BE(view.readUInt32BE(at) - size, at);
  }
  return cat(view.subarray(0, moov), view.subarray(moov + size), view.subarray(moov, moov + size));
}

// Plan: the index may be anywhere; its tables give the length, where the header says less.
describe("MP4", () => {
  it("decodes the same bits wherever its index is", async () => {
    const bytes = file("speech.m4a");
    const last = indexOf(bytes, "moov") > indexOf(bytes, "mdat") ? bytes : indexLast(bytes);
    const want = await decodeAudio(bytes, "x");
    expect(await decodeAudio(last, "x")).toEqual(want);
    const pieces = [...mp4Track(last).chunks];
    expect(pieces.length).toBeGreaterThan(1);
    expect(Math.max(...pieces.slice(1).map((piece) => piece.length))).toBeLessThanOrEqual(1024);
  });

  it("is refused for the length in its sample table", async () => {
    const bytes = file("speech.m4a");
    new DataView(bytes.buffer).setUint32(indexOf(bytes, "stts") + 12, 10_000_000);
    await expect(decodeAudio(bytes, "x", { maxSeconds: 60 })).rejects.toThrow(
      "prompt: expected at most 60 s",
    );
  });
});

// Plan: frames give the length of a stream whose header does not.
describe("unknown lengths", () => {
  it("FLAC by its last frames", () => {
    const bytes = file("speech.flac");
    const samples = new DataView(bytes.buffer).getUint32(22);
    expect(flacLength(bytes)).toBe(samples);
    expect(flacLength(bytes.subarray(0, 60))).toBe(0);
  });

  it("Opus by its packets", () => {
    const [link] = oggLinks(file("speech.opus")).links;
    expect(opusSamples(file("speech.opus"), link)).toBeGreaterThanOrEqual(link.granule);
    expect(opusSamples(file("speech.opus"), link)).toBeLessThan(link.granule + 2 * 960);
  });

  it.each(["opus", "webm"])("refuses 255 channels of one in %s", async (kind) => {
    const bytes = file(`speech.${kind}`);
    bytes[indexOf(bytes, "OpusHead") + 9] = 255;
    await expect(decodeAudio(bytes, "x")).rejects.toThrow("x: channels: expected 1..8, got 255");
  });
});

/** WebM whose blocks are in groups, one in each, then many in one. */
function groups(): Uint8Array {
  const bytes = file("speech.webm");
  const group = (...blocks: number[]): number[] => [0xa0, 0x40, blocks.length, ...blocks];
  const block = [0xa1, 0x85, 0x81, 0, 0, 0x80, 0];
  const parts = [...group(...block), ...group(...block), ...group(...Array<number[]>(30).fill(block).flat())];
  const head = bytes.subarray(0, indexOf(bytes, [0x1f, 0x43, 0xb6, 0x75]));
  return cat(head, Uint8Array.from([0x1f, 0x43, 0xb6, 0x75, 0x40, parts.length, ...parts]));
}

// Plan: on arbitrary and damaged inputs, parsers end, throw nothing and stay within the file.
// `FUZZ=10000 npx vitest run THIS` runs as many.
describe("parsers", () => {
  const numRuns = fuzzRuns(1000);
  const within = (pieces: Iterable<Uint8Array>, most: number): void => {
    let sum = 0;
    for (const piece of pieces) sum += piece.length;
    expect(sum).toBeLessThanOrEqual(most);
  };
  it.each<[string, (bytes: Uint8Array) => void]>([
    [
      "speech.aac",
      (bytes) => {
        for (const [begin, end] of scanAdts(bytes).runs.flatMap(({ spans }) => spans))
          expect(begin < end && end <= bytes.length).toBe(true);
      },
    ],
    ["speech.webm", (bytes) => { within(scanWebm(bytes).chunks, bytes.length); }], // prettier-ignore
    ["groups.webm", (bytes) => { within(scanWebm(bytes).chunks, bytes.length); }], // prettier-ignore
    ["speech.m4a", (bytes) => { within(mp4Track(bytes).chunks, 2 * bytes.length); }], // prettier-ignore
    [
      "speech.flac",
      (bytes) => {
        for (const stream of flacStreams(bytes)) within(byFlacFrames(stream), stream.length);
        expect(flacLength(bytes)).toBeGreaterThanOrEqual(0);
      },
    ],
    [
      "speech.opus",
      (bytes) => {
        for (const link of oggLinks(bytes).links) expect(opusSamples(bytes, link)).toBeGreaterThanOrEqual(0);
      },
    ],
  ])(`%s damaged, ${numRuns} times`, (name, run) => {
    const source = name === "groups.webm" ? groups() : file(name);
    const edits = fc.array(fc.tuple(fc.nat(source.length - 1), fc.nat(255)), { maxLength: 8 });
    const damaged = fc.tuple(edits, fc.nat(source.length)).map(([list, length]) => {
      const bytes = source.slice(0, length);
      for (const [at, value] of list) if (at < length) bytes[at] = value;
      return bytes;
    });
    const inputs = fc.oneof(damaged, fc.uint8Array({ maxLength: 300 }));
    fc.assert(fc.property(inputs, run), { numRuns, seed: 1 });
  });
});
