import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { AudioError } from "./errors.js";
import { isWav, parseWav } from "./wav.js";

interface Wav {
  tag?: number;
  channels?: number;
  rate?: number;
  bits?: number;
  blockAlign?: number;
  fmtSize?: number;
  extension?: { valid: number; tag: number; tail?: number[] };
  data?: Uint8Array;
  dataSize?: number;
  riffSize?: number;
  before?: Uint8Array; // bytes between the fmt and the data chunk
  riff?: string;
  form?: string;
}

const TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
const latin1 = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));
const u16 = (v: number): number[] => [v & 255, (v >> 8) & 255];
const u32 = (v: number): number[] => [...u16(v & 0xffff), ...u16(v >>> 16)];

/**
 * A WAV file of any shape, right or wrong; by default 16-bit mono at 16 kHz with the samples 0, 1,
 * -1.
 */
function wav(w: Wav = {}): Uint8Array {
  const { channels = 1, bits = 16, data = new Uint8Array([0, 0, 1, 0, 255, 255]) } = w;
  const blockAlign = w.blockAlign ?? (channels * bits) / 8;
  const tag = w.extension ? 0xfffe : (w.tag ?? 1);
  const fmt = [
    ...u16(tag),
    ...u16(channels),
    ...u32(w.rate ?? 16000),
    ...u32((w.rate ?? 16000) * blockAlign),
  ];
  fmt.push(...u16(blockAlign), ...u16(bits));
  if (w.extension) {
    fmt.push(
      ...u16(22),
      ...u16(w.extension.valid),
      ...u32(0),
      ...u16(w.extension.tag),
      ...(w.extension.tail ?? TAIL),
    );
  }
  const fmtSize = w.fmtSize ?? fmt.length;
  const body = [...latin1(w.form ?? "WAVE"), ...latin1("fmt "), ...u32(fmtSize), ...fmt.slice(0, fmtSize)];
  body.push(...(w.before ?? []), ...latin1("data"), ...u32(w.dataSize ?? data.length), ...data);
  return new Uint8Array([...latin1(w.riff ?? "RIFF"), ...u32(w.riffSize ?? body.length), ...body]);
}

function floats(values: number[], bytes: 4 | 8): Uint8Array {
  return new Uint8Array((bytes === 4 ? new Float32Array(values) : new Float64Array(values)).buffer);
}

const file = (name: string): Uint8Array =>
  readFileSync(new URL(`../../test/fixtures/audio/${name}`, import.meta.url));

// Plan: every sample format gives the values of its definition, at both ends of its range and at
// one step from zero.
describe("parseWav: formats", () => {
  const cases: [string, Wav, number[]][] = [
    [
      "8 bits, unsigned",
      { bits: 8, data: new Uint8Array([0, 127, 128, 129, 255]) },
      [-1, -1 / 128, 0, 1 / 128, 127 / 128],
    ],
    [
      "16 bits",
      { data: new Uint8Array([0, 128, 255, 255, 0, 0, 1, 0, 255, 127]) },
      [-1, -(2 ** -15), 0, 2 ** -15, 1 - 2 ** -15],
    ],
    [
      "24 bits",
      { bits: 24, data: new Uint8Array([0, 0, 128, 255, 255, 255, 1, 0, 0, 255, 255, 127]) },
      [-1, -(2 ** -23), 2 ** -23, 1 - 2 ** -23],
    ],
    [
      "32 bits",
      { bits: 32, data: new Uint8Array([0, 0, 0, 128, 0, 1, 0, 0, 0, 0, 0, 64]) },
      [-1, 2 ** -23, 0.5],
    ],
    ["float 32", { tag: 3, bits: 32, data: floats([-1.5, 0, 0.25], 4) }, [-1.5, 0, 0.25]],
    ["float 64", { tag: 3, bits: 64, data: floats([-1.5, 0, 0.1], 8) }, [-1.5, 0, Math.fround(0.1)]],
    ["extensible PCM", { extension: { valid: 16, tag: 1 } }, [0, 2 ** -15, -(2 ** -15)]],
    ["extensible float", { bits: 32, extension: { valid: 32, tag: 3 }, data: floats([0.5], 4) }, [0.5]],
    [
      "20 of 24 bits",
      { bits: 24, extension: { valid: 20, tag: 1 }, data: new Uint8Array([0, 0, 64]) },
      [0.5],
    ],
    ["12 of 16 bits", { bits: 12, blockAlign: 2, data: new Uint8Array([0, 64, 0, 128]) }, [0.5, -1]],
    ["20 bits in 24", { bits: 20, blockAlign: 3, data: new Uint8Array([0, 0, 64]) }, [0.5]],
    ["6 bits in 8, unsigned", { bits: 6, blockAlign: 1, data: new Uint8Array([0, 192]) }, [-1, 0.5]],
    [
      "fmt chunk of 18 bytes and a LIST chunk of odd size",
      { before: new Uint8Array([...latin1("LIST"), ...u32(3), 1, 2, 3, 0]) },
      [0, 2 ** -15, -(2 ** -15)],
    ],
    ["bytes after the data chunk", { data: new Uint8Array([0, 64, 9, 9, 9]), dataSize: 2 }, [0.5]],
  ];
  it.each(cases)("%s", (_, w, want) => {
    const { channels, sampleRate } = parseWav(wav(w), "clip.wav");
    expect({ sampleRate, channels: channels.map((c) => Array.from(c)) }).toEqual({
      sampleRate: 16000,
      channels: [want],
    });
  });

  it("deals interleaved samples out to their channels", () => {
    const data = new Uint8Array([0, 64, 0, 192, 0, 32, 0, 224]);
    const { channels, sampleRate } = parseWav(wav({ channels: 2, rate: 44100, data }), "clip.wav");
    expect(channels).toEqual([new Float32Array([0.5, 0.25]), new Float32Array([-0.5, -0.25])]);
    expect(sampleRate).toBe(44100);
  });

  it("reads a view into a larger buffer", () => {
    const bytes = wav();
    const padded = new Uint8Array([7, 7, 7, ...bytes, 7]);
    expect(parseWav(padded.subarray(3, 3 + bytes.length), "x")).toEqual(parseWav(bytes, "x"));
  });
});

// Plan: the sizes that writers leave when they cannot seek back mean "to the end of the file"; real
// files of ffmpeg and sox too.
describe("parseWav: streamed files", () => {
  it.each([
    ["ffmpeg: all ones", 0xffffffff, 0xffffffff],
    ["sox: 31 bits", 0x7ffff024, 0x7ffff000],
    ["zero in both", 0, 0],
    ["the empty header of a recorder that was killed", 36, 0],
    ["a data size of all ones under a true RIFF size", 42, 0xffffffff],
  ])("%s", (_, riffSize, dataSize) => {
    expect(parseWav(wav({ riffSize, dataSize }), "pipe").channels).toEqual(parseWav(wav(), "whole").channels);
  });

  it("drops a frame that the stream's end cut in two", () => {
    const data = new Uint8Array([0, 64, 1]);
    expect(parseWav(wav({ data, riffSize: 0xffffffff, dataSize: 0xffffffff }), "pipe").channels).toEqual([
      new Float32Array([0.5]),
    ]);
  });

  it("an ffmpeg pipe of extensible 24-bit stereo is the file that ffmpeg writes", () => {
    const piped = parseWav(file("piped-24bit-stereo.wav"), "piped");
    expect(piped).toEqual(parseWav(file("24bit-stereo.wav"), "file"));
    expect([piped.sampleRate, piped.channels.length, piped.channels[0].length]).toEqual([8000, 2, 800]);
  });
});

// Plan: all samples are read, whatever the size fields say; only a file that lost samples has
// damage.
describe("parseWav: sizes are advice", () => {
  const odd = new Uint8Array([...latin1("LIST"), ...u32(3), 1, 2, 3]);
  const longer = new Uint8Array([...latin1("LIST"), ...u32(900), 1, 2, 3, 4]);
  const cases: [string, Wav][] = [
    ["arecord", { riffSize: 0x80000024, dataSize: 0x80000000 }],
    ["31 bits", { riffSize: 0x80000023, dataSize: 0x7fffffff }],
    ["RIFF 0", { riffSize: 0, dataSize: 0x80000000 }],
    ["just below 2^32", { riffSize: 0xffffffff, dataSize: 0xffffffdb }],
    ...[50, 6, 38, 34, 26, 0xffffffff].map((size): [string, Wav] => [`RIFF ${size}`, { riffSize: size }]),
    ["data doubled", { riffSize: 42, dataSize: 12 }],
    ["data 0, RIFF true", { riffSize: 42, dataSize: 0 }],
    ["odd size", { dataSize: 7, riffSize: 43 }],
    ["odd byte", { data: new Uint8Array([0, 0, 1, 0, 255, 255, 9]) }],
    ["chunk without its pad byte", { before: odd }],
    ["chunk with a wrong size", { before: longer }],
    ["fmt with a wrong size", { fmtSize: 16 }],
  ];
  it.each(cases)("%s", (_, w) => {
    expect(parseWav(wav(w), "x.wav")).toEqual(parseWav(wav(), "whole"));
  });

  // Data sizes whose lowest byte is printable, and not: "data" read one byte late is then "ata" and
  // that byte.
  it.each([6, 0x20, 0x40, 0x60, 0x7e, 0x120, 0x180])(
    "chunk without its pad byte in front of %i bytes",
    (size) => {
      const data = new Uint8Array(size).fill(1);
      for (const id of ["LIST", "iXML", "xyzw"]) {
        const before = new Uint8Array([...latin1(id), ...u32(3), 1, 2, 3]);
        expect(parseWav(wav({ before, data }), "x.wav")).toEqual(parseWav(wav({ data }), "whole"));
      }
    },
  );

  it.each([-30, -20, -7, -3, 5, 12])("text chunk whose size is %i off", (off) => {
    const text = latin1("<ixml>some data that is long enough to land in</ixml>");
    const before = new Uint8Array([...latin1("iXML"), ...u32(text.length + off), ...text]);
    const data = new Uint8Array(100).fill(2);
    expect(parseWav(wav({ before, data }), "x.wav")).toEqual(parseWav(wav({ data }), "whole"));
  });

  it("takes blockAlign from channels and bits where it is 0", () => {
    expect(parseWav(wav({ blockAlign: 0 }), "x.wav")).toEqual(parseWav(wav(), "whole"));
  });

  it.each([8, 1000, 16000])("a file that lost %i bytes", (lost) => {
    const whole = wav({ data: new Uint8Array(32000) });
    const { channels, damage } = parseWav(whole.subarray(0, whole.length - lost), "x.wav");
    expect(channels[0].length).toBe(16000 - lost / 2);
    expect(damage).toBe(`${(1 - lost / 32000).toFixed(2)} s could be read of the 1.00 s in the header`);
  });
});

// Plan: values of G.711's tables at their ends and next to zero; RF64 and BW64 take the data size
// from ds64.
describe("parseWav: other kinds", () => {
  it.each([
    ["A-law", 6, [0xd5, 0x55, 0xaa, 0x2a], [8, -8, 32256, -32256]],
    ["mu-law", 7, [0xff, 0x7f, 0x80, 0x00], [0, -0, 32124, -32124]],
  ])("%s", (_, tag, data, want) => {
    const { channels } = parseWav(wav({ tag, bits: 8, data: new Uint8Array(data) }), "x.wav");
    expect(Array.from(channels[0], (v) => v * 32768)).toEqual(want);
  });

  it("reads a data chunk in front of the fmt chunk", () => {
    const [bytes, data] = [wav(), [...latin1("data"), ...u32(6), 0, 0, 1, 0, 255, 255]];
    const swapped = new Uint8Array([...bytes.subarray(0, 12), ...data, ...bytes.subarray(12, 36)]);
    expect(parseWav(swapped, "x.wav")).toEqual(parseWav(wav(), "whole"));
  });

  it("reads RIFX, whose numbers have their highest byte first", () => {
    const u16be = (v: number): number[] => u16(v).reverse();
    const u32be = (v: number): number[] => u32(v).reverse();
    const fmt = [...u16be(1), ...u16be(1), ...u32be(16000), ...u32be(32000), ...u16be(2), ...u16be(16)];
    const body = [...latin1("WAVEfmt "), ...u32be(16), ...fmt];
    body.push(...latin1("data"), ...u32be(6), 0, 0, 0, 1, 255, 255);
    const bytes = new Uint8Array([...latin1("RIFX"), ...u32be(body.length), ...body]);
    expect(parseWav(bytes, "x.wav")).toEqual(parseWav(wav(), "whole"));
  });

  it.each(["RF64", "BW64"])("%s", (riff) => {
    const plain = wav({ riff, riffSize: 0xffffffff, dataSize: 0xffffffff });
    const ds64 = [
      ...latin1("ds64"),
      ...u32(28),
      ...u32(84),
      ...u32(0),
      ...u32(6),
      ...new Array<number>(16).fill(0),
    ];
    const bytes = new Uint8Array([...plain.subarray(0, 12), ...ds64, ...plain.subarray(12), 9, 9]);
    expect(parseWav(bytes, "x.wav")).toEqual(parseWav(wav(), "whole"));
  });
});

// Plan: each fault is refused in a line with the file, the field, the expected value and the value
// found.
describe("parseWav: refusals", () => {
  const cases: [string, Uint8Array, string][] = [
    ["nothing", new Uint8Array(), "x.wav: file size: expected at least 12 bytes for a RIFF header, got 0"],
    ["not RIFF", wav({ riff: "RF99" }), 'x.wav: RIFF id: expected "RIFF", got "RF99"'],
    ["not WAVE", wav({ form: "AVI " }), 'x.wav: RIFF form: expected "WAVE", got "AVI "'],
    [
      "no samples",
      wav({ data: new Uint8Array() }),
      "x.wav: data.size: expected at least one frame of 2 bytes, got 0",
    ],
    [
      "a file that ends in its fmt chunk",
      wav({}).subarray(0, 30),
      "x.wav: fmt chunk: expected 16 bytes, got 10; copy or download it again",
    ],
    ["short fmt", wav({ fmtSize: 14 }), "x.wav: fmt.size: expected at least 16, got 14"],
    [
      "short extension",
      wav({ extension: { valid: 16, tag: 1 }, fmtSize: 38 }),
      "x.wav: fmt.size: expected at least 40 for an extensible format, got 38",
    ],
    ["0 channels", wav({ channels: 0 }), "x.wav: fmt.channels: expected 1..64, got 0"],
    ["65 channels", wav({ channels: 65 }), "x.wav: fmt.channels: expected 1..64, got 65"],
    ["rate 0", wav({ rate: 0 }), "x.wav: fmt.sampleRate: expected 4000..768000 whole Hz, got 0"],
    ["rate 3,999", wav({ rate: 3999 }), "x.wav: fmt.sampleRate: expected 4000..768000 whole Hz, got 3999"],
    [
      "rate 768,001",
      wav({ rate: 768001 }),
      "x.wav: fmt.sampleRate: expected 4000..768000 whole Hz, got 768001",
    ],
    ["40 bits", wav({ bits: 40 }), "x.wav: fmt.bitsPerSample: expected 8, 16, 24, 32 for PCM, got 40"],
    ["float of 16 bits", wav({ tag: 3 }), "x.wav: fmt.bitsPerSample: expected 32, 64 for float, got 16"],
    ["block align", wav({ blockAlign: 3 }), "x.wav: fmt.blockAlign: expected 2 for 1 x 16 bits, got 3"],
    [
      "unknown tag",
      wav({ tag: 0x1234 }),
      "x.wav: fmt.tag: expected 1 (PCM), 2 or 17 (ADPCM), 3 (float), 6 (A-law), 7 (mu-law) or 65534 (extensible), got 4660",
    ],
    [
      "more valid bits than bits",
      wav({ extension: { valid: 24, tag: 1 } }),
      "x.wav: fmt.validBitsPerSample: expected at most 16, got 24",
    ],
    [
      "strange GUID",
      wav({ extension: { valid: 16, tag: 1, tail: TAIL.map(() => 0) } }),
      "x.wav: fmt.subFormat: expected a KSDATAFORMAT_SUBTYPE of PCM or float, got 01000000000000000000000000000000",
    ],
    [
      "NaN",
      wav({ tag: 3, bits: 32, channels: 2, data: floats([0, 0, 0, NaN], 4) }),
      "x.wav: sample 1 of channel 1: expected a finite number, got NaN",
    ],
    [
      "infinity",
      wav({ tag: 3, bits: 32, data: floats([0, -Infinity], 4) }),
      "x.wav: sample 1 of channel 0: expected a finite number, got -Infinity",
    ],
    [
      "f64 past f32",
      wav({ tag: 3, bits: 64, data: floats([1e300], 8) }),
      "x.wav: sample 0 of channel 0: expected a finite number, got Infinity",
    ],
    [
      "no data chunk",
      wav({ riffSize: 28 }).subarray(0, 36),
      "x.wav: data chunk: expected one in the file, got none",
    ],
    [
      "no fmt chunk",
      new Uint8Array([...latin1("RIFF"), ...u32(12), ...latin1("WAVEdata"), ...u32(0)]),
      "x.wav: fmt chunk: expected one in the file, got none",
    ],
  ];
  it.each(cases)("%s", (_, bytes, message) => {
    expect(() => parseWav(bytes, "x.wav")).toThrow(AudioError);
    expect(() => parseWav(bytes, "x.wav")).toThrow(message);
    expect(() => parseWav(bytes, "x.wav")).toThrow(/; (convert it with ffmpeg|copy or download it again)/);
  });
});

// Plan: 12,000 inputs, or FUZZ of each kind (noise, noise behind a RIFF header, damaged valid
// files): samples or an AudioError of one line, never anything else, and never more than four bytes
// allocated a byte read.
describe("parseWav: any bytes", () => {
  const seeds = [
    wav(),
    wav({ channels: 2, bits: 24, data: new Uint8Array(60) }),
    wav({ tag: 3, bits: 32, data: floats([0.5, -0.5, 0.25], 4) }),
    wav({ bits: 32, extension: { valid: 32, tag: 3 }, data: floats([0.1, 0.2], 4) }),
    wav({ riffSize: 0xffffffff, dataSize: 0xffffffff }),
    file("24bit-stereo.wav").subarray(0, 400),
    wav({ bits: 24, blockAlign: 4, data: new Uint8Array(40) }),
  ];
  const edit = fc.record({
    at: fc.nat(),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 128, 255)),
  });
  const damaged = fc
    .tuple(fc.constantFrom(...seeds), fc.array(edit, { maxLength: 6 }), fc.option(fc.nat()))
    .map(([seed, edits, cut]) => {
      const bytes = new Uint8Array(seed);
      for (const { at, value } of edits) bytes[at % (edits.length > 3 ? 48 : bytes.length)] = value;
      return cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1));
    });
  const noise = fc.uint8Array({ maxLength: 200 });
  const headed = noise.map((rest) => new Uint8Array([...wav().subarray(0, 12), ...rest]));

  function check(bytes: Uint8Array): void {
    try {
      const { channels } = parseWav(bytes, "any.wav");
      expect(channels.length * channels[0].length).toBeLessThanOrEqual(bytes.length);
      expect(channels.every((c) => c.length === channels[0].length && c.every(Number.isFinite))).toBe(true);
    } catch (error) {
      if (!(error instanceof AudioError)) throw error;
      expect(error.message).toMatch(/^any\.wav: [^\n]+: expected [^\n]+, got [^\n]+; (convert|copy) [^\n]+$/);
    }
  }

  it.each([
    ["noise", noise, 3000],
    ["noise behind RIFF and WAVE", headed, 3000],
    ["damaged files", damaged, 6000],
  ] as const)("%s", (_, inputs, usual) => {
    fc.assert(fc.property(inputs, check), { numRuns: fuzzRuns(usual) });
  });

  it("knows a RIFF file by its first four bytes", () => {
    expect(
      [wav(), wav({ riff: "RIFX" }), wav({ riff: "OggS" }), new Uint8Array([82, 73, 70])].map(isWav),
    ).toEqual([true, true, false, false]);
  });
});
