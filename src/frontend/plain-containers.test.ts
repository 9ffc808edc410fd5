import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { decodeAudio } from "./decode.js";
import { AudioError } from "./errors.js";
import { fromALaw, fromMuLaw } from "./g711.js";

const latin1 = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));
const big = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) & 255);
const small = (value: number, bytes: number): number[] => big(value, bytes).reverse();
const f32 = (little: boolean, ...values: number[]): number[] => {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [i, value] of values.entries()) view.setFloat32(4 * i, value, little);
  return Array.from(new Uint8Array(view.buffer));
};
const f64 = (...values: number[]): number[] => {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  for (const [i, value] of values.entries()) view.setFloat64(8 * i, value);
  return Array.from(new Uint8Array(view.buffer));
};

interface Given {
  bits?: number;
  type?: string;
  data: number[];
  frames?: number;
  size?: number;
  form?: number;
  channels?: number;
  soundFirst?: boolean;
}

/** AIFF, or AIFF-C where a type is given, at 16 kHz. */
function aiff({ bits = 16, type, data, channels = 1, ...rest }: Given): Uint8Array {
  const frames = rest.frames ?? Math.floor((data.length * 8) / bits / channels);
  const rate = [0x40, 0x0c, ...big(16000 * 2 ** 18, 4), 0, 0, 0, 0]; // 2^13 <= 16000 < 2^14
  const common = [...big(channels, 2), ...big(frames, 4), ...big(bits, 2), ...rate];
  if (type !== undefined) common.push(...latin1(type), 0, 0);
  const comm = [...latin1("COMM"), ...big(common.length, 4), ...common];
  const ssnd = [...latin1("SSND"), ...big(rest.size ?? data.length + 8, 4), ...big(0, 8), ...data];
  if (rest.soundFirst && ssnd.length % 2 === 1) ssnd.push(0);
  const chunks = rest.soundFirst ? [...ssnd, ...comm] : [...comm, ...ssnd];
  const form = type === undefined ? "AIFF" : "AIFC";
  const head = [...latin1("FORM"), ...big(rest.form ?? chunks.length + 4, 4), ...latin1(form)];
  return new Uint8Array([...head, ...chunks]);
}

function au(encoding: number, data: number[], size = data.length, offset = 28): Uint8Array {
  const head = [offset, size, encoding, 16000, 1].flatMap((value) => big(value, 4));
  return new Uint8Array([...latin1(".snd"), ...head, ...Array<number>(offset - 24).fill(0), ...data]);
}

const riffGuid = [0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0, 0];
const guid = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
function wave64(data: number[], size = data.length + 24, fmt = true): Uint8Array {
  const chunk = (id: string, length: number, body: number[]): number[] => {
    const all = [...latin1(id), ...guid, ...small(length, 8), ...body];
    while (all.length % 8 > 0) all.push(0);
    return all;
  };
  const format = [1, 1].flatMap((v) => small(v, 2)).concat(small(16000, 4), small(32000, 4), [2, 0, 16, 0]);
  const body = [...chunk("junk", 27, [1, 2, 3]), ...(fmt ? chunk("fmt ", 40, format) : [])];
  body.push(...latin1("data"), ...guid, ...small(size, 8), ...data);
  const head = [...latin1("riff"), ...riffGuid, ...small(body.length + 40, 8), ...latin1("wave"), ...guid];
  return new Uint8Array([...head, ...body]);
}

/** With a chunk of 5 bytes in front that lacks its pad byte. */
function unpadded(bytes: Uint8Array, id: string): Uint8Array {
  const chunk = [...latin1(id), ...big(5, 4), ...latin1("hello")];
  return new Uint8Array([...bytes.subarray(0, 12), ...chunk, ...bytes.subarray(12)]);
}

const three = [0, 1, 0x80, 0, 0x7f, 0xff]; // 16 bits, big-endian
const of16 = [2 ** -15, -1, 1 - 2 ** -15];
const swapped = [1, 0, 0, 0x80, 0xff, 0x7f];

// Plan: each encoding of AIFF, AIFF-C, AU and Wave64 gives the values of its definition, also from
// writers that cannot seek.
it.each<[string, Uint8Array, number[]]>([
  ["AIFF, 16 bits", aiff({ data: three }), of16],
  ["AIFF, 8 bits, signed", aiff({ bits: 8, data: [0x80, 0, 0x7f] }), [-1, 0, 127 / 128]],
  ["AIFF, 12 bits at the top of 16", aiff({ bits: 12, data: [0x40, 0, 0x80, 0] }), [0.5, -1]],
  ["AIFF, 24 bits", aiff({ bits: 24, data: [0x80, 0, 0, 0, 0, 1] }), [-1, 2 ** -23]],
  ["AIFF, 32 bits", aiff({ bits: 32, data: [0x80, 0, 0, 0, 0x40, 0, 0, 0] }), [-1, 0.5]],
  ["AIFF, samples before COMM", aiff({ data: three, soundFirst: true }), of16],
  ["AIFF of a pipe: no sizes", aiff({ data: three, frames: 0, size: 0, form: 0 }), of16],
  [
    "AIFF of a pipe: sizes of sox",
    aiff({ data: three, frames: 2 ** 30, size: 0x7f000008, form: 0x7f000030 }),
    of16,
  ],
  ["AIFF, fewer frames than bytes", aiff({ data: three, frames: 2 }), of16.slice(0, 2)],
  ["AIFF, SSND.size too small", aiff({ data: three, size: 10 }), of16],
  ["AIFF, a chunk without its pad byte", unpadded(aiff({ data: three }), "NAME"), of16],
  ["AIFF, an unknown chunk without its pad byte", unpadded(aiff({ data: three }), "wxyz"), of16],
  ["AIFF-C NONE", aiff({ type: "NONE", data: three }), of16],
  ["AIFF-C twos", aiff({ type: "twos", data: three }), of16],
  ["AIFF-C sowt", aiff({ type: "sowt", data: swapped }), of16],
  ["AIFF-C in24", aiff({ type: "in24", bits: 24, data: [0x80, 0, 0] }), [-1]],
  ["AIFF-C in32", aiff({ type: "in32", bits: 32, data: [0x80, 0, 0, 0] }), [-1]],
  ["AIFF-C 42ni", aiff({ type: "42ni", bits: 24, data: [1, 0, 0] }), [2 ** -23]],
  ["AIFF-C 23ni", aiff({ type: "23ni", bits: 32, data: [0, 0, 0, 0x80] }), [-1]],
  ["AIFF-C fl32", aiff({ type: "fl32", bits: 32, data: f32(false, 0.25, -1) }), [0.25, -1]],
  ["AIFF-C fl64", aiff({ type: "fl64", bits: 64, data: f64(0.25, -1) }), [0.25, -1]],
  [
    "AIFF-C ulaw",
    aiff({ type: "ulaw", bits: 16, data: [0, 0x55], frames: 2 }),
    [fromMuLaw(0), fromMuLaw(0x55)],
  ],
  ["AIFF-C alaw", aiff({ type: "alaw", bits: 8, data: [0, 0x54] }), [fromALaw(0), fromALaw(0x54)]],
  ["AU mu-law", au(1, [0, 9]), [fromMuLaw(0), fromMuLaw(9)]],
  ["AU 8 bits", au(2, [0x80, 0x7f]), [-1, 127 / 128]],
  ["AU 16 bits", au(3, three), of16],
  ["AU 24 bits", au(4, [0x80, 0, 0]), [-1]],
  ["AU 32 bits", au(5, [0x80, 0, 0, 0]), [-1]],
  ["AU float", au(6, f32(false, 0.25)), [0.25]],
  ["AU double", au(7, f64(0.25)), [0.25]],
  ["AU A-law", au(27, [3]), [fromALaw(3)]],
  ["AU of size 0", au(3, three, 0), of16],
  ["AU of a pipe", au(3, three, 0xffffffff), of16],
  ["Wave64", wave64(swapped), of16],
  ["Wave64 of a pipe", wave64(swapped, 0), of16],
])("%s", async (_, bytes, want) => {
  const { channels, sampleRate, damage } = await decodeAudio(bytes, "x");
  expect([sampleRate, damage]).toEqual([16_000, undefined]);
  expect(Array.from(channels[0])).toEqual(Array.from(Float32Array.from(want)));
});

it("AIFF deals samples out to its channels", async () => {
  const { channels } = await decodeAudio(aiff({ channels: 2, data: [0x40, 0, 0xc0, 0] }), "x");
  expect(channels.map((samples) => samples[0])).toEqual([0.5, -0.5]);
});

// Plan: a file that ends early is reported, and refused with `strict`.
describe.each([
  ["AIFF", aiff({ data: three, frames: 32_000, size: 64_008, form: 64_046 })],
  ["AU", au(3, three, 64_000)],
  ["Wave64", wave64(swapped, 64_024)],
])("%s that was cut", (_, bytes) => {
  it("is damaged", async () => {
    const damage = "0.00 s could be read of the 2.00 s in the header";
    expect(await decodeAudio(bytes, "x")).toMatchObject({ damage });
    await expect(decodeAudio(bytes, "x", { strict: true })).rejects.toThrow(damage);
  });
});

it.each([
  [aiff({ type: "ima4", data: three }), "COMM.compressionType"],
  [aiff({ bits: 40, data: three }), "COMM.sampleSize: expected 1..32, got 40"],
  [aiff({ data: three, channels: 65 }), "COMM.channels: expected 1..64, got 65"],
  [aiff({ data: [] }), "SSND.size: expected at least one frame of 2 bytes, got 0"],
  [aiff({ data: three }).subarray(0, 12), "COMM chunk: expected one in the file, got none"],
  [aiff({ data: three }).subarray(0, 38), "SSND chunk: expected one in the file, got none"],
  [au(23, three), "encoding: expected 1, 2, 3, 4, 5, 6, 7, 27, got 23"],
  [au(3, three).subarray(0, 20), "file size: expected at least 24 bytes, got 20"],
  [wave64(swapped, 30, false), "fmt chunk: expected one before the data chunk, got none"],
])("refuses (%#)", async (bytes, message) => {
  await expect(decodeAudio(bytes, "x")).rejects.toThrow(AudioError);
  await expect(decodeAudio(bytes, "x")).rejects.toThrow(`x: ${message}`);
});

// Plan: 10,000 files of each container, or FUZZ, with bytes changed, cut or repeated: each gives
// samples or an AudioError of one line.
it.each([
  ["AIFF", aiff({ data: three })],
  ["AIFF-C", aiff({ type: "fl32", bits: 32, data: f32(false, 0.25, -1) })],
  ["AU", au(3, three)],
  ["Wave64", wave64(swapped)],
])("%s: any change is read or refused in one line", async (_, bytes) => {
  const change = fc.record({
    at: fc.nat({ max: bytes.length - 1 }),
    value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
    count: fc.integer({ min: 1, max: 8 }),
  });
  const changes = fc.array(change, { minLength: 1, maxLength: 4 });
  const run = async (
    edits: { at: number; value: number; count: number }[],
    length: number,
  ): Promise<void> => {
    const mutated = bytes.slice(0, length);
    for (const { at, value, count } of edits) mutated.fill(value, at, at + count);
    try {
      const { channels } = await decodeAudio(mutated, "x");
      expect(channels[0].length * channels.length).toBeLessThanOrEqual(mutated.length);
    } catch (error) {
      expect(error).toBeInstanceOf(AudioError);
      expect((error as Error).message).not.toContain("\n");
    }
  };
  const property = fc.asyncProperty(changes, fc.integer({ min: 12, max: bytes.length }), run);
  await fc.assert(property, { numRuns: fuzzRuns(10_000), seed: 13 });
});
