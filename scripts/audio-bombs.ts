import { readFileSync } from "node:fs";

// Small files that last long: repeated frames of silence, or a fixture's repeated packets.

const fixtures = "test/fixtures/audio";

export function fixture(name: string): Buffer {
  return readFileSync(`${fixtures}/${name}`);
}

/** A file again and again, as `cat` joins them. */
export function chain(bytes: Buffer, count: number): Buffer {
  return Buffer.concat(new Array<Buffer>(count).fill(bytes));
}

export function ascii(text: string): number[] {
  return Array.from(text, (c) => c.charCodeAt(0));
}

function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, 4 * i));
  return bytes;
}

function crc(bytes: Uint8Array, bits: number, polynomial: number): number {
  const [top, mask] = [2 ** (bits - 1), 2 ** bits - 1];
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte * 2 ** (bits - 8);
    for (let i = 0; i < 8; i++) sum = (sum >= top ? (sum * 2) ^ polynomial : sum * 2) & mask;
  }
  return sum;
}

/** A number encoded as UTF-8 encodes code points, up to 31 bits. */
function coded(value: number): number[] {
  if (value < 0x80) return [value];
  const count = [11, 16, 21, 26, 31].findIndex((bits) => value < 2 ** bits) + 1;
  const tail = Array.from({ length: count }, (_, i) => 0x80 | ((value >> (6 * (count - 1 - i))) & 63));
  return [((0xff00 >> (count + 1)) & 0xff) | (value >> (6 * count)), ...tail];
}

/**
 * Silence at 48 kHz, 16 bits, in frames of 65,535 samples.
 * @param claimed  seconds of the header; 0: unknown
 */
export function flac(seconds: number, channels: number, claimed = seconds): Buffer {
  const [block, rate] = [65_535, 48_000];
  const head = Buffer.alloc(42);
  head.set([...ascii("fLaC"), 0x80, 0, 0, 34]);
  head.writeUInt16BE(block, 8);
  head.writeUInt16BE(block, 10);
  head.writeUInt32BE(rate * 2 ** 12 + (channels - 1) * 2 ** 9 + (15 << 4), 18);
  const total = claimed * rate;
  head[21] |= Math.floor(total / 2 ** 32);
  head.writeUInt32BE(total % 2 ** 32, 22);
  const frames: Buffer[] = [head];
  const subframes = new Array<number[]>(channels).fill([0, 0, 0]).flat();
  for (let i = 0; i < (seconds * rate) / block; i++) {
    const start = [0xff, 0xf8, 0x7a, ((channels - 1) << 4) | 8, ...coded(i), 0xff, 0xfe];
    const frame = Buffer.from([...start, crc(Buffer.from(start), 8, 7), ...subframes]);
    const sum = Buffer.alloc(2);
    sum.writeUInt16BE(crc(frame, 16, 0x8005));
    frames.push(frame, sum);
  }
  return Buffer.concat(frames);
}

const oggTable = Array.from({ length: 256 }, (_, i) => {
  let sum = i << 24;
  for (let bit = 0; bit < 8; bit++) sum = sum < 0 ? (sum << 1) ^ 0x04c11db7 : sum << 1;
  return sum;
});

interface PageFields {
  readonly flags: number;
  readonly granule: number;
  readonly sequence: number;
}

function oggPage(packets: readonly Uint8Array[], { flags, granule, sequence }: PageFields): Buffer {
  const page = Buffer.concat([Buffer.alloc(27), Buffer.from(packets.map((p) => p.length)), ...packets]);
  page.set([...ascii("OggS"), 0, flags]);
  page.writeBigInt64LE(BigInt(granule), 6);
  page.writeUInt32LE(1, 14);
  page.writeUInt32LE(sequence, 18);
  page[26] = packets.length;
  let sum = 0;
  for (const byte of page) sum = (sum << 8) ^ oggTable[(sum >>> 24) ^ byte];
  page.writeInt32LE(sum, 22);
  return page;
}

/** Opus silence in packets of 120 ms. @param known  whether pages say their positions */
export function opus(seconds: number, channels = 1, known = true): Buffer {
  const family = channels > 2 ? [1, channels, 0, ...Array(channels).keys()] : [0];
  const head = [...ascii("OpusHead"), 1, channels, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, ...family];
  const pages = [
    oggPage([Buffer.from(head)], { flags: 2, granule: 0, sequence: 0 }),
    oggPage([Buffer.from([...ascii("OpusTags"), ...new Array<number>(8).fill(0)])], {
      flags: 0,
      granule: 0,
      sequence: 1,
    }),
  ];
  const packet = Buffer.from([channels === 2 ? 0xff : 0xfb, 6, 0, 0, 0, 0, 0, 0]);
  const count = Math.ceil(seconds / 0.12);
  for (let done = 0; done < count; done += 250) {
    const granule = known ? Math.min(count, done + 250) * 5760 : 0;
    const flags = done + 250 >= count ? 4 : 0;
    pages.push(oggPage(new Array<Buffer>(250).fill(packet), { flags, granule, sequence: pages.length }));
  }
  return Buffer.concat(pages);
}

/** The fixture's MPEG frames, repeated, without its tags. */
export function mp3(seconds: number): Buffer {
  const frame = Buffer.alloc(36); // MPEG 2, layer III, 8 kbit/s at 16 kHz: 36 ms
  frame.set([0xff, 0xf3, 0x18, 0xc0]);
  return Buffer.concat(new Array<Buffer>(Math.ceil(seconds / 0.036)).fill(frame));
}

/** Runs of three silent frames, mono and stereo in turn: each a stream of its own. */
export function mp3Chain(count: number): Buffer {
  const run = (mode: number): Buffer => chain(Buffer.from([0xff, 0xf3, 0x14, mode, ...Buffer.alloc(20)]), 3);
  return Buffer.concat(Array.from({ length: count }, (_, i) => run(i % 2 === 0 ? 0x04 : 0xc4)));
}

/** Runs of ADTS at two rates in turn. */
export function adtsChain(count: number): Buffer {
  const { frame, index } = shortest();
  const run = (rate: number): Buffer => {
    const bytes = chain(frame, 3);
    for (let at = 2; at < bytes.length; at += frame.length) bytes[at] = (bytes[at] & ~0x3c) | (rate << 2);
    return bytes;
  };
  return Buffer.concat(Array.from({ length: count }, (_, i) => run(i % 2 === 0 ? index : 11)));
}

/** A FLAC whose one frame cannot be decoded, and whose checksum allows an end at each of 100 zeros behind it. */
export function wrongEnd(): Buffer {
  const whole = flac(65_535 / 48_000, 1);
  const last = whole.length - 3 - 2;
  whole[last] = 0xff; // no kind of subframe
  const begin = whole.lastIndexOf(Buffer.from([0xff, 0xf8]));
  whole.writeUInt16BE(crc(whole.subarray(begin, -2), 16, 0x8005), whole.length - 2);
  return Buffer.concat([whole, Buffer.alloc(100), Buffer.of(1)]);
}

/** ADTS frames of the fixture, each with its head of 7 bytes. */
function adtsFrames(): Buffer[] {
  const bytes = fixture("speech.aac");
  const frames: Buffer[] = [];
  for (let at = 0; at + 7 <= bytes.length;) {
    const size = ((bytes[at + 3] & 3) << 11) | (bytes[at + 4] << 3) | (bytes[at + 5] >> 5);
    frames.push(bytes.subarray(at, at + size));
    at += size;
  }
  return frames;
}

/** The smallest frame of the fixture, repeated. */
function shortest(): { readonly frame: Buffer; readonly rate: number; readonly index: number } {
  const [frame] = adtsFrames().sort((a, b) => a.length - b.length);
  const index = (frame[2] >> 2) & 15;
  const rates = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000,
  ];
  return { frame, rate: rates[index], index };
}

export function adts(seconds: number): Buffer {
  const { frame, rate } = shortest();
  return Buffer.concat(new Array<Buffer>(Math.ceil((seconds * rate) / 1024)).fill(frame));
}

function box(name: string, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([u32(body.length + 8), Buffer.from(name, "latin1"), body]);
}

/**
 * M4A of AAC.
 * @param claimed  seconds in its headers; the sample table has the true count
 */
export function m4a(seconds: number, { claimed = seconds, indexLast = false } = {}): Buffer {
  const { frame: whole, rate, index } = shortest();
  const frame = whole.subarray(7);
  const count = Math.ceil((seconds * rate) / 1024);
  const data = box("mdat", Buffer.concat(new Array<Buffer>(count).fill(frame)));
  const ftyp = box("ftyp", Buffer.from("M4A \0\0\0\0M4A ", "latin1"));
  const index0 = movie(0, { count, claimed, rate, index, size: frame.length });
  const first = ftyp.length + 8 + (indexLast ? 0 : index0.length);
  const moov = movie(first, { count, claimed, rate, index, size: frame.length });
  return Buffer.concat(indexLast ? [ftyp, data, moov] : [ftyp, moov, data]);
}

interface Track {
  readonly count: number;
  readonly claimed: number;
  readonly rate: number;
  readonly index: number;
  readonly size: number;
}

function movie(offset: number, { count, claimed, rate, index, size }: Track): Buffer {
  const units = Math.round(claimed * rate);
  const config = Buffer.from([(2 << 3) | (index >> 1), ((index & 1) << 7) | (1 << 3)]);
  const descriptor = (tag: number, ...parts: Uint8Array[]): Buffer => {
    const body = Buffer.concat(parts);
    return Buffer.concat([Buffer.from([tag, body.length]), body]);
  };
  const decoder = [Buffer.from([0x40, 0x15]), Buffer.alloc(11), descriptor(5, config)];
  const esds = box(
    "esds",
    u32(0),
    descriptor(3, Buffer.alloc(3), descriptor(4, ...decoder), descriptor(6, Buffer.from([2]))),
  );
  const entry = Buffer.alloc(28);
  entry[7] = 1;
  entry[17] = 1;
  entry[19] = 16;
  entry.writeUInt16BE(rate, 24);
  const table = box(
    "stbl",
    box("stsd", u32(0, 1), box("mp4a", entry, esds)),
    box("stts", u32(0, 1, count, 1024)),
    box("stsc", u32(0, 1, 1, count, 1)),
    box("stsz", u32(0, size, count)),
    box("stco", u32(0, 1, offset)),
  );
  const handler = box("hdlr", u32(0, 0), Buffer.from("soun"), Buffer.alloc(13));
  const media = box("mdia", box("mdhd", u32(0, 0, 0, rate, units, 0)), handler, box("minf", table));
  const head = box("tkhd", u32(7, 0, 0, 1, 0, units), Buffer.alloc(60));
  return box("moov", box("mvhd", u32(0, 0, 0, rate, units), Buffer.alloc(80)), box("trak", head, media));
}

function element(id: number[], body: Uint8Array): Buffer {
  const size = Buffer.alloc(8);
  size.writeUInt32BE(body.length, 4);
  size[0] = 1;
  return Buffer.concat([Buffer.from(id), size, body]);
}

/** WebM of Opus silence in clusters of 30 s. */
export function webm(seconds: number): Buffer {
  const head = [...ascii("OpusHead"), 1, 1, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0];
  const rate = Buffer.alloc(8);
  rate.writeDoubleBE(48_000);
  const audio = element([0xe1], Buffer.concat([element([0xb5], rate), element([0x9f], Buffer.from([1]))]));
  const track = Buffer.concat([
    element([0xd7], Buffer.from([1])),
    element([0x83], Buffer.from([2])),
    element([0x86], Buffer.from("A_OPUS")),
    element([0x63, 0xa2], Buffer.from(head)),
    audio,
  ]);
  const parts = [element([0x16, 0x54, 0xae, 0x6b], element([0xae], track))];
  for (let at = 0; at < seconds; at += 30) {
    const blocks = Array.from({ length: 250 }, (_, i) => {
      const time = i * 120;
      return element([0xa3], Buffer.from([0x81, time >> 8, time & 255, 0x80, 0xfb, 6, 0, 0, 0, 0, 0, 0]));
    });
    parts.push(
      element([0x1f, 0x43, 0xb6, 0x75], Buffer.concat([element([0xe7], u32(at * 1000)), ...blocks])),
    );
  }
  const ebml = element([0x1a, 0x45, 0xdf, 0xa3], element([0x42, 0x82], Buffer.from("webm")));
  return Buffer.concat([ebml, element([0x18, 0x53, 0x80, 0x67], Buffer.concat(parts))]);
}

/** A WAV's head. @param size  of the data */
export function wavHead(
  size: number,
  { tag = 1, channels = 1, rate = 16_000, bits = 16, align = 0 } = {},
): Buffer {
  const head = Buffer.alloc(44);
  const block = align || (channels * bits) / 8;
  head.write("RIFF", 0);
  head.writeUInt32LE(Math.min(2 ** 32 - 1, size + 36), 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(tag, 20);
  head.writeUInt16LE(channels, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * block, 28);
  head.writeUInt16LE(block, 32);
  head.writeUInt16LE(bits, 34);
  head.write("data", 36);
  head.writeUInt32LE(size, 40);
  return head;
}

/** The head of 16-bit mono at 16 kHz in AIFF, Wave64 and AU. @param size  of the samples */
export function plainHead(kind: "aiff" | "w64" | "au", size: number): Buffer {
  if (kind === "au") return Buffer.concat([Buffer.from(".snd"), u32(24, size, 3, 16_000, 1)]);
  if (kind === "aiff") {
    const common = Buffer.alloc(18);
    common.writeUInt16BE(1, 0);
    common.writeUInt32BE(size / 2, 2);
    common.writeUInt16BE(16, 6);
    common.set([0x40, 0x0c, 0xfa], 8); // 16,000 as an extended float
    const sound = [Buffer.from("SSND"), u32(size + 8, 0, 0)];
    return Buffer.concat([
      Buffer.from("FORM"),
      u32(size + 46),
      Buffer.from("AIFF"),
      box2("COMM", common),
      ...sound,
    ]);
  }
  const tail = Buffer.from("f3acd3118cd100c04f8edb8a", "hex");
  const chunk = (name: string, bytes: number): Buffer => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(bytes + 24));
    return Buffer.concat([Buffer.from(name), tail, length]);
  };
  const riff = Buffer.from("726966662e91cf11a5d628db04c10000", "hex");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(size + 104));
  const format = wavHead(0).subarray(20, 36);
  return Buffer.concat([
    riff,
    length,
    Buffer.from("wave"),
    tail,
    chunk("fmt ", 16),
    format,
    chunk("data", size),
  ]);
}

function box2(name: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(name), u32(body.length), body]);
}
