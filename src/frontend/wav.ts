import { checkFinite, checkSampleRate, type DecodedAudio } from "./audio.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;
const MAX_CHANNELS = 64;
const TAG_NAMES: Readonly<Record<number, string>> = {
  2: "Microsoft ADPCM",
  6: "A-law",
  7: "mu-law",
  0x11: "IMA ADPCM",
  0x31: "GSM 6.10",
  0x50: "MPEG",
  0x55: "MP3",
};
/** Bytes 2..15 of every KSDATAFORMAT_SUBTYPE GUID whose first two bytes are a format tag. */
const SUBTYPE_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/** What writers that cannot seek put into a size field: ffmpeg the last, sox the ones of 31 bits. */
const STREAM_SIZES: ReadonlySet<number> = new Set([0x7ffff000, 0x7ffff024, 0x7fffffff, 0xffffffff]);

interface Format {
  readonly tag: number;
  readonly channels: number;
  readonly rate: number;
  readonly bits: number;
  readonly blockAlign: number;
}

/** Whether the bytes begin as a RIFF/WAVE file does (also RIFX and RF64, which `parseWav` refuses by name). */
export function isWav(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && ["RIFF", "RIFX", "RF64"].includes(ascii(bytes, 0));
}

/**
 * Samples of a WAV file: PCM of 8, 16, 24 or 32 bits, IEEE float of 32 or 64, plain or WAVE_FORMAT_EXTENSIBLE,
 * 1 to 64 channels, 4,000 to 768,000 Hz. Integers are divided by 2^(bits-1), unsigned bytes are centred first.
 * A data size of 0xFFFFFFFF (a writer that could not seek), or of 0 under a RIFF size that does not match the
 * file either, means "to the end of the file".
 * @param bytes  the whole file; at most four times its size is allocated
 * @param name   the file's name, for errors
 * @throws AudioError  anything else, NaN or infinite samples, no samples; one line naming file, field, expected, got
 * @source Microsoft Multimedia Programming Interface 1.0 (RIFF, WAVE), mmreg.h (WAVEFORMATEXTENSIBLE)
 */
export function parseWav(bytes: Uint8Array, name: string): DecodedAudio {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const riffSize = parseRiffHeader(bytes, view, name);
  const { format, data, dataField } = findChunks(bytes, view, name, riffSize);
  const partial = data.length % format.blockAlign;
  if (partial !== 0 && !dataField.open) {
    throw new AudioError(
      name,
      "data.size",
      `a multiple of the ${format.blockAlign} bytes of a frame`,
      data.length,
      fetchAgain,
    );
  }
  const frames = (data.length - partial) / format.blockAlign;
  if (frames === 0)
    throw new AudioError(
      name,
      "data.size",
      `at least one frame of ${format.blockAlign} bytes`,
      data.length,
      fetchAgain,
    );
  const channels = readSamples(data, frames, format);
  if (format.tag === FLOAT) checkFinite(name, channels);
  return { channels, sampleRate: format.rate };
}

/** @returns the RIFF size field, checked against the file unless it is one that a streaming writer leaves */
function parseRiffHeader(bytes: Uint8Array, view: DataView, name: string): number {
  if (bytes.length < 12)
    throw new AudioError(name, "file size", "at least 12 bytes for a RIFF header", bytes.length, fetchAgain);
  const id = ascii(bytes, 0);
  if (id !== "RIFF") throw new AudioError(name, "RIFF id", '"RIFF"', quote(id), convertIt);
  const form = ascii(bytes, 8);
  if (form !== "WAVE") throw new AudioError(name, "RIFF form", '"WAVE"', quote(form), convertIt);
  const size = view.getUint32(4, true);
  // One byte more than there is: the pad byte after an odd last chunk, which many writers count but leave out.
  if (size > bytes.length - 7 && !STREAM_SIZES.has(size)) {
    throw new AudioError(
      name,
      "RIFF.size",
      `at most ${bytes.length - 8}, the bytes after it (is the file cut short?)`,
      size,
      fetchAgain,
    );
  }
  return size;
}

function findChunks(bytes: Uint8Array, view: DataView, name: string, riffSize: number) {
  const streaming = riffSize === 0 || STREAM_SIZES.has(riffSize);
  let format: Format | undefined;
  for (let at = 12; at + 8 <= bytes.length;) {
    const id = ascii(bytes, at);
    const size = view.getUint32(at + 4, true);
    const left = bytes.length - at - 8;
    if (id === "data") {
      if (!format) throw new AudioError(name, "fmt chunk", "one before the data chunk", "none", convertIt);
      const empty = size === 0 && (streaming || riffSize !== bytes.length - 8);
      const open = size > left ? STREAM_SIZES.has(size) : empty;
      checkChunkSize(name, id, open ? left : size, left);
      if (!streaming && !open && riffSize < at + size) {
        throw new AudioError(
          name,
          "RIFF.size",
          `at least ${at + size}, the end of its data chunk`,
          riffSize,
          convertIt,
        );
      }
      const end = at + 8 + (open ? left : size);
      return { format, data: bytes.subarray(at + 8, end), dataField: { open } };
    }
    checkChunkSize(name, id, size, left);
    if (id === "fmt " && !format) format = parseFormat(bytes.subarray(at + 8, at + 8 + size), name);
    at += 8 + size + (size & 1);
  }
  throw new AudioError(name, format ? "data chunk" : "fmt chunk", "one in the file", "none", fetchAgain);
}

function checkChunkSize(name: string, id: string, size: number, left: number): void {
  if (size > left) {
    throw new AudioError(
      name,
      `${id.trim()}.size`,
      `at most ${left}, the bytes left in the file (is it cut short?)`,
      size,
      fetchAgain,
    );
  }
}

function parseFormat(chunk: Uint8Array, name: string): Format {
  if (chunk.length < 16) throw new AudioError(name, "fmt.size", "at least 16", chunk.length, convertIt);
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let tag = view.getUint16(0, true);
  const channels = view.getUint16(2, true);
  const rate = view.getUint32(4, true);
  const blockAlign = view.getUint16(12, true);
  const bits = view.getUint16(14, true);
  if (tag === EXTENSIBLE) tag = parseExtension(chunk, view, name, bits);
  if (tag !== PCM && tag !== FLOAT) {
    const known = TAG_NAMES[tag] ? ` (${TAG_NAMES[tag]})` : "";
    throw new AudioError(
      name,
      "fmt.tag",
      "1 (PCM), 3 (float) or 65534 (extensible)",
      `${tag}${known}`,
      convertIt,
    );
  }
  if (channels < 1 || channels > MAX_CHANNELS)
    throw new AudioError(name, "fmt.channels", `1..${MAX_CHANNELS}`, channels, convertIt);
  checkSampleRate(name, "fmt.sampleRate", rate);
  const allowed = tag === PCM ? [8, 16, 24, 32] : [32, 64];
  if (!allowed.includes(bits)) {
    throw new AudioError(
      name,
      "fmt.bitsPerSample",
      `${allowed.join(", ")} for ${tag === PCM ? "PCM" : "float"}`,
      bits,
      convertIt,
    );
  }
  const frame = (channels * bits) / 8;
  if (blockAlign !== frame)
    throw new AudioError(
      name,
      "fmt.blockAlign",
      `${frame} for ${channels} x ${bits} bits`,
      blockAlign,
      convertIt,
    );
  return { tag, channels, rate, bits, blockAlign };
}

/** @returns the format tag inside a WAVEFORMATEXTENSIBLE */
function parseExtension(chunk: Uint8Array, view: DataView, name: string, bits: number): number {
  if (chunk.length < 40)
    throw new AudioError(name, "fmt.size", "at least 40 for an extensible format", chunk.length, convertIt);
  const valid = view.getUint16(18, true);
  if (valid > bits) throw new AudioError(name, "fmt.validBitsPerSample", `at most ${bits}`, valid, convertIt);
  const guid = Array.from(chunk.subarray(24, 40));
  if (SUBTYPE_TAIL.some((byte, i) => guid[i + 2] !== byte)) {
    const hex = guid.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    throw new AudioError(name, "fmt.subFormat", "a KSDATAFORMAT_SUBTYPE of PCM or float", hex, convertIt);
  }
  return view.getUint16(24, true);
}

function readSamples(data: Uint8Array, frames: number, format: Format): Float32Array[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const width = format.bits / 8;
  const read = sampleReader(view, format);
  return Array.from({ length: format.channels }, (_, c) => {
    const samples = new Float32Array(frames);
    let at = c * width;
    for (let i = 0; i < frames; i++, at += format.blockAlign) samples[i] = read(at);
    return samples;
  });
}

function sampleReader(view: DataView, { tag, bits }: Format): (at: number) => number {
  if (tag === FLOAT)
    return bits === 32 ? (at) => view.getFloat32(at, true) : (at) => view.getFloat64(at, true);
  switch (bits) {
    case 8:
      return (at) => (view.getUint8(at) - 128) / 2 ** 7;
    case 16:
      return (at) => view.getInt16(at, true) / 2 ** 15;
    case 24:
      return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23;
    default:
      return (at) => view.getInt32(at, true) / 2 ** 31;
  }
}

function ascii(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

function quote(id: string): string {
  return JSON.stringify(id);
}
