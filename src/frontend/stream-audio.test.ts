import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nanWav, wav } from "../../test/helpers/wav.js";
import { concatenated } from "./audio.js";
import { decodeAudio, headBytes } from "./decode.js";
import { type FileParts, type StreamOptions, type Streamed, streamAudio } from "./stream-audio.js";

const fixtures = new URL("../../test/fixtures/audio/", import.meta.url);
const names = readdirSync(fixtures).filter((name) => !name.endsWith(".md"));
const rate = 16_000;

/** A file in memory, and the longest part of it that was read. */
function partsOf(bytes: Uint8Array): FileParts & { longest: number } {
  const parts = {
    size: bytes.length,
    longest: 0,
    read(at: number, length: number): Promise<Uint8Array> {
      parts.longest = Math.max(parts.longest, length);
      return Promise.resolve(bytes.slice(at, at + length));
    },
  };
  return parts;
}

interface Collected extends Streamed {
  readonly samples: Float32Array;
}

async function collect(bytes: Uint8Array, options: Partial<StreamOptions> = {}): Promise<Collected> {
  const blocks: Float32Array[] = [];
  const streamed = await streamAudio(partsOf(bytes), "clip", { rate, ...options }, (block) => {
    blocks.push(block.slice());
  });
  return { ...streamed, samples: concatenated([new Float32Array(0), ...blocks]) };
}

async function expectSame(bytes: Uint8Array, channel?: number): Promise<void> {
  const want = await decodeAudio(bytes, "clip", { keep: { rate, channel } });
  const { samples, ...got } = await collect(bytes, { channel });
  expect(samples).toEqual(want.channels[0]);
  const { seconds, damage, warning } = want;
  expect([got.seconds, got.damage, got.warning]).toEqual([seconds, damage, warning]);
}

/** A stereo WAV from a mono one of 16 bits: the second channel is the first times `factor`. */
function stereo(factor: number): Uint8Array {
  const mono = wav(0.5, 3);
  const bytes = new Uint8Array(44 + 2 * (mono.length - 44));
  bytes.set(mono.subarray(0, 44));
  const [from, to] = [new DataView(mono.buffer), new DataView(bytes.buffer)];
  to.setUint16(22, 2, true);
  to.setUint16(32, 4, true);
  to.setUint32(40, bytes.length - 44, true);
  for (let i = 0; 44 + 2 * i < mono.length; i++) {
    const sample = from.getInt16(44 + 2 * i, true);
    to.setInt16(44 + 4 * i, sample, true);
    to.setInt16(46 + 4 * i, Math.max(-32768, Math.min(32767, factor * sample)), true);
  }
  return bytes;
}

const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const whole = wav(0.5, 1);
const silent = (length: number): number[] => new Array<number>(length).fill(0);

// Plan: a stream gives the samples, seconds, damage and warning that decodeAudio keeps: for every
// fixture; for WAV files whose sizes are wrong, cut, tagged, followed by others; for channels.
describe("the stream is what decodeAudio keeps", () => {
  it.each(names)("%s", (name) => expectSame(new Uint8Array(readFileSync(new URL(name, fixtures)))));

  it.each(names.filter((name) => /^speech\.(mp3|flac|ogg|opus|wav|aac|webm)$/.test(name)))(
    "%s, cut",
    (name) => {
      const bytes = new Uint8Array(readFileSync(new URL(name, fixtures)));
      return expectSame(bytes.subarray(0, Math.floor(bytes.length * 0.7)));
    },
  );

  it.each<[string, Uint8Array]>([
    ["arecord's size", wav(0.5, 1, (_, view) => view.setUint32(40, 0x80000000, true))],
    ["ffmpeg's size", wav(0.5, 1, (_, view) => view.setUint32(40, 0xffffffff, true))],
    ["no size", wav(0.5, 1, (_, view) => view.setUint32(40, 0, true))],
    ["a size doubled", wav(0.5, 1, (_, view) => view.setUint32(40, 2 * (whole.length - 44), true))],
    ["half a frame more", joined(whole, new Uint8Array([1]))],
    ["a list behind", joined(whole, text("LIST\x04\0\0\0abcd"))],
    ["another file behind", joined(whole, wav(0.3, 2))],
    ["an ID3 tag in front", joined(text("ID3\x03\0\0\0\0\0\x04abcd"), whole)],
    ["data behind the first bytes", joined(...behindList(headBytes))],
    ["channels that cancel", stereo(-1)],
    ["two channels", stereo(0.5)],
  ])("WAV: %s", (_name, bytes) => expectSame(bytes));

  it.each([1, 2])("channel %i", (channel) => expectSame(stereo(-0.5), channel));
});

/** A WAV whose list of so many bytes stands in front of its samples. */
function behindList(size: number): Uint8Array[] {
  const head = text("LIST\0\0\0\0");
  new DataView(head.buffer).setUint32(4, size, true);
  return [whole.subarray(0, 36), head, new Uint8Array(silent(size)), whole.subarray(36)];
}

/** A FLAC whose header says that it has so many samples. */
function claiming(samples: number): Uint8Array {
  const bytes = new Uint8Array(readFileSync(new URL("speech.flac", fixtures)));
  bytes[21] |= Math.floor(samples / 2 ** 32);
  new DataView(bytes.buffer).setUint32(22, samples % 2 ** 32);
  return bytes;
}

// Plan: three hours of WAV are read in parts of a megabyte; the sink's promise holds the decoding
// up; a length is known in front; what is refused is refused as by decodeAudio.
describe("streaming", () => {
  it("reads a long WAV in parts, and waits for the sink", async () => {
    const [seconds, length] = [3 * 3600, 3 * 3600 * 32_000];
    const head = wav(0.1, 1, (_, view) => view.setUint32(40, length, true)).subarray(0, 44);
    let [longest, waiting, samples, known] = [0, 0, 0, 0];
    const read = (at: number, count: number): Promise<Uint8Array> => {
      longest = Math.max(longest, count);
      const part = new Uint8Array(Math.min(count, length + 44 - at));
      if (at === 0) part.set(head);
      return Promise.resolve(part);
    };
    const sink = async (block: Float32Array): Promise<void> => {
      expect(++waiting).toBe(1);
      await Promise.resolve();
      waiting--;
      samples += block.length;
    };
    const options = { rate, onLength: (claimed: number) => (known = claimed) };
    const streamed = await streamAudio({ size: length + 44, read }, "long.wav", options, sink);
    expect([streamed.seconds, samples, known]).toEqual([seconds, seconds * rate, seconds]);
    expect(longest).toBeLessThanOrEqual(2 ** 20);
  });

  it("reports the length of compressed files in front", async () => {
    for (const name of ["speech.mp3", "speech.flac", "speech.ogg", "speech.m4a"]) {
      const known: number[] = [];
      const bytes = new Uint8Array(readFileSync(new URL(name, fixtures)));
      const { seconds } = await collect(bytes, { onLength: (claimed) => known.push(claimed) });
      expect(Math.abs(known.at(-1)! - seconds), name).toBeLessThan(0.5);
    }
  });

  it.each<[string, Uint8Array, Partial<StreamOptions>]>([
    ["NaN", nanWav(), {}],
    ["no audio", text("hello, this is text"), {}],
    ["empty", new Uint8Array(0), {}],
    ["too long", whole, { maxSeconds: -1 }],
    ["no such channel", whole, { channel: 2 }],
    ["cut, strict", whole.subarray(0, 4000), { strict: true }],
    ["hours of silence in few bytes", claiming(2 ** 34), {}],
  ])("refuses %s as decodeAudio does", async (_name, bytes, options) => {
    const { channel, ...rest } = options;
    const refusal = decodeAudio(bytes, "clip", { ...rest, keep: { rate, channel } });
    const { message } = await refusal.then(
      () => expect.unreachable(),
      (cause: unknown) => cause as Error,
    );
    await expect(collect(bytes, options)).rejects.toThrow(message);
  });

  it.each([
    ["one channel", wav(1, 1), undefined],
    ["one channel that is named", wav(1, 1), 1],
    ["several channels", stereo(0.5), undefined],
  ])("with strict a file that is cut gives no samples: %s", async (_name, bytes, channel) => {
    let blocks = 0;
    const sink = (): void => {
      blocks++;
    };
    const cut = partsOf(bytes.subarray(0, bytes.length - 1000));
    await expect(streamAudio(cut, "clip", { rate, strict: true, channel }, sink)).rejects.toThrow(
      "expected a whole file",
    );
    expect(blocks).toBe(0);
    await streamAudio(partsOf(bytes), "clip", { rate, strict: true, channel }, sink);
    expect(blocks).toBeGreaterThan(0);
  });

  it.each(["speech.flac", "speech.mp3", "speech.wav", "speech.m4a"])(
    "%s: the header's length comes before the samples",
    async (name) => {
      const bytes = new Uint8Array(readFileSync(new URL(name, fixtures)));
      const heard: (number | boolean)[] = [];
      const onLength = (seconds: number, declared: boolean): void => void heard.push(seconds, declared);
      const { seconds } = await streamAudio(partsOf(bytes), "clip", { rate, channel: 1, onLength }, () => {
        heard.push(0);
      });
      expect(heard[0]).toBeGreaterThan(seconds - 0.001); // with the codec's delay
      expect(heard[0]).toBeLessThan(seconds + 0.1);
      expect(heard[1]).toBe(true);
      expect(heard.slice(2).every((value) => value === 0)).toBe(true);
    },
  );

  it("ends with the signal's reason, and with the sink's error", async () => {
    const controller = new AbortController();
    const stop = (): void => controller.abort(new Error("stopped"));
    const parts = partsOf(joined(whole, whole));
    const options = { rate, signal: controller.signal, channel: 1 };
    stop();
    await expect(streamAudio(parts, "clip", options, () => undefined)).rejects.toThrow("stopped");
    const full = new Error("full");
    const mp3 = partsOf(new Uint8Array(readFileSync(new URL("speech.mp3", fixtures))));
    for (const file of [parts, mp3])
      await expect(streamAudio(file, "clip", { rate }, () => Promise.reject(full))).rejects.toBe(full);
  });
});
