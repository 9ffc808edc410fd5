import { viewOf } from "./spans.js";
import { type AdpcmFormat, adpcmHead, IMA_ADPCM, isAdpcm, MS_ADPCM } from "./adpcm.js";
import { checkSampleRate } from "./audio.js";
import { Budget } from "./budget.js";
import { chunkAfter, chunkId, findChunk, isChunkId } from "./chunks.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import type { Heard } from "./hearing.js";
import {
  A_LAW,
  FLOAT,
  framesIn,
  MU_LAW,
  PCM,
  type PcmData,
  type PcmFormat,
  type PcmRegion,
  pcmAudio,
  withoutNext,
} from "./pcm.js";
import { hasMark } from "./tags.js";

const EXTENSIBLE = 0xfffe;
const MAX_CHANNELS = 64;
const RIFF_IDS = ["RIFF", "RIFX", "RF64", "BW64"];
const TAG_NAMES: Readonly<Record<number, string>> = {
  0x31: "GSM 6.10",
  0x50: "MPEG",
  0x55: "MP3",
};
const WIDTHS: Readonly<Record<number, readonly number[] | undefined>> = {
  [PCM]: [8, 16, 24, 32],
  [FLOAT]: [32, 64],
  [A_LAW]: [8],
  [MU_LAW]: [8],
  [MS_ADPCM]: [4],
  [IMA_ADPCM]: [4],
};
const TAGS_READ: Readonly<Record<number, string>> = {
  [PCM]: "PCM",
  [FLOAT]: "float",
  [A_LAW]: "A-law",
  [MU_LAW]: "mu-law",
  [MS_ADPCM]: "Microsoft ADPCM",
  [IMA_ADPCM]: "IMA ADPCM",
};
/** Bytes 2..15 of every KSDATAFORMAT_SUBTYPE GUID whose first two bytes are a format tag. */
const SUBTYPE_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/**
 * Writers that cannot seek leave sizes near 2^31 (arecord, sox, mplayer) or just below 2^32
 * (ffmpeg).
 */
function isStreamSize(size: number): boolean {
  return (size >= 0x7fff0000 && size <= 0x80010000) || size >= 0xffff0000;
}

/** Whether the bytes begin as a RIFF/WAVE file does (also RIFX, RF64 and BW64). */
export function isWav(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && RIFF_IDS.includes(ascii(bytes, 0));
}

/**
 * Samples of a WAV file: PCM of 1 to 32 bits, IEEE float of 32 or 64, A-law and mu-law; Microsoft
 * and IMA ADPCM of one or two channels; plain or WAVE_FORMAT_EXTENSIBLE; RIFF, RIFX, RF64 or BW64;
 * 1 to 64 channels, 4,000 to 768,000 Hz. Integers are divided by 2^(bits-1), unsigned bytes are
 * centred first; 24 bits may stand in 4 bytes. Size fields are advice: a data chunk that passes the
 * end goes to the end. That is `damage`, unless its size is one that streaming writers leave.
 * @param bytes   the whole file; at most eight times its size is allocated
 * @param name    the file's name, for errors
 * @param budget  what the clip may take
 * @throws AudioError  anything else, a clip that passes the budget, NaN or infinite samples, no
 *                     samples; one line naming file, field, expected, got
 * @source Microsoft Multimedia Programming Interface 1.0 (RIFF, WAVE), mmreg.h
 *         (WAVEFORMATEXTENSIBLE), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), ITU-T G.711
 */
export function parseWav(bytes: Uint8Array, name: string, budget = new Budget(name)): Heard {
  checkRiffHeader(bytes, name);
  const { format, stored } = findChunks(bytes, name);
  const audio = pcmAudio(name, "data.size", format, { ...stored, budget });
  const end = stored.data.byteOffset - bytes.byteOffset + stored.data.length;
  return withoutNext(audio, isWav(bytes.subarray(end)) && hasMark(bytes, end + 8, "WAVE"));
}

/**
 * Seconds of a WAV file by its first bytes.
 * @param size  bytes of the whole file
 * @returns     undefined where the data chunk does not begin in `head`, or says no size and the
 *              file is longer
 * @throws AudioError  as parseWav
 */
export function wavSeconds(head: Uint8Array, size: number, name: string): number | undefined {
  checkRiffHeader(head, name);
  let found: Found;
  try {
    found = findChunks(head, name);
  } catch {
    return undefined; // parseWav reports it where it holds for the whole file
  }
  const { format, stored, size: claimed } = found;
  const start = stored.data.byteOffset - head.byteOffset;
  const whole = head.length === size ? stored.data.length : undefined;
  const bytes = claimed === 0 ? whole : Math.min(claimed, size - start);
  return bytes && framesIn(format, bytes, stored.counted) / format.rate;
}

/**
 * Where the samples of a WAV lie, by its first bytes.
 * @param size  bytes of the whole file
 * @returns     undefined where the file must be read whole: the data chunk does not begin in
 *              `head`, its size is 0, or 24 bits stand in 4 bytes
 * @throws AudioError  as parseWav
 */
export function wavRegion(head: Uint8Array, size: number, name: string): PcmRegion | undefined {
  checkRiffHeader(head, name);
  let found: Found;
  try {
    found = findChunks(head, name);
  } catch {
    return undefined; // parseWav reports it where it holds for the whole file
  }
  const { format, stored, size: claimed } = found;
  const start = stored.data.byteOffset - head.byteOffset;
  const left = size - start;
  if (claimed === 0 || format.slot === 4 || framesIn(format, Math.min(claimed, left)) === 0) return undefined;
  const cut = isCut(viewOf(head), size, start, claimed, ascii(head, 0) !== "RIFX");
  const length = Math.min(claimed, left);
  return { format, start, length, promised: cut ? claimed : length, counted: stored.counted };
}

function checkRiffHeader(bytes: Uint8Array, name: string): void {
  if (bytes.length < 12)
    throw new AudioError(name, "file size", "at least 12 bytes for a RIFF header", bytes.length, fetchAgain);
  const id = ascii(bytes, 0);
  if (!RIFF_IDS.includes(id)) throw new AudioError(name, "RIFF id", '"RIFF"', quote(id), convertIt);
  const form = ascii(bytes, 8);
  if (form !== "WAVE") throw new AudioError(name, "RIFF form", '"WAVE"', quote(form), convertIt);
}

/** The header's fields and the samples' bytes. */
interface Found {
  readonly format: PcmFormat;
  readonly stored: Omit<PcmData, "budget">;
  /** Size of the data chunk by the header. */
  readonly size: number;
}

const LEAST_FORMAT = 16; // bytes of a fmt chunk
const [DATA, DS64, FACT, FMT] = ["data", "ds64", "fact", "fmt "].map(chunkId);

function findChunks(bytes: Uint8Array, name: string): Found {
  const view = viewOf(bytes);
  const little = ascii(bytes, 0) !== "RIFX";
  let format: PcmFormat | undefined;
  let stored: Found["stored"] | undefined;
  let [claimed, behind, searched] = [0, 12, false];
  let longSize: number | undefined; // of the data chunk, from ds64
  let counted: number | undefined;
  for (let at = 12; at >= 0 && at + 8 <= bytes.length && !(format && stored);) {
    const id = view.getUint32(at);
    const size = view.getUint32(at + 4, little);
    const whole = at + 8 + size;
    const dataSize = longSize !== undefined && size === 0xffffffff ? longSize : size;
    if (id === DATA && !stored) {
      stored = dataBytes(bytes, at + 8, dataSize, little);
      claimed = dataSize;
    }
    if (id === DS64 && size >= 16 && at + 24 <= bytes.length)
      longSize = Number(view.getBigUint64(at + 16, true));
    if (id === FACT && size >= 4 && at + 12 <= bytes.length) counted = view.getUint32(at + 8, little);
    if (id === FMT && !format && size >= LEAST_FORMAT && at + 8 + LEAST_FORMAT > bytes.length)
      throw new AudioError(name, "fmt chunk", `${size} bytes`, `${bytes.length - at - 8}`, fetchAgain);
    if (id === FMT)
      format ??= parseFormat(bytes.subarray(at + 8, Math.min(bytes.length, whole)), name, little);
    if (id === FMT || id === DATA) behind = at + 8;
    const next = chunkAfter(view, id === DATA ? at + 8 + dataSize : whole, size);
    if (next >= 0) at = next;
    else if (searched) break;
    else {
      at = findChunk(view, behind, format ? "data" : "fmt ", little);
      searched = format !== undefined;
    }
  }
  if (!format) throw new AudioError(name, "fmt chunk", "one in the file", "none", fetchAgain);
  if (!stored) throw new AudioError(name, "data chunk", "one in the file", "none", fetchAgain);
  return { format, stored: { ...stored, counted }, size: claimed };
}

/**
 * A size of 0 means "to the end" unless chunks follow. A size past the end means a cut file, unless
 * streaming writers leave it, or the RIFF size fits the file: then the data size alone is wrong.
 */
function dataBytes(bytes: Uint8Array, start: number, size: number, little: boolean): Found["stored"] {
  const left = bytes.length - start;
  const open = size === 0 ? !chunksFollow(bytes, start, little) : size > left;
  const data = bytes.subarray(start, open ? bytes.length : start + size);
  const cut = open && isCut(viewOf(bytes), bytes.length, start, size, little);
  return { data, promised: cut ? size : data.length };
}

/** Whether a data chunk that passes the end of a file of `total` bytes lost samples. */
function isCut(head: DataView, total: number, start: number, size: number, little: boolean): boolean {
  const left = total - start;
  const excess = head.getUint32(4, little) - (total - 8);
  const riffFits = excess >= -start && excess <= 8 && size - left !== excess;
  return size > left + 1 && !isStreamSize(size) && !riffFits;
}

/** Whether whole chunks fill the file from `at` to its end. */
function chunksFollow(bytes: Uint8Array, at: number, little: boolean): boolean {
  const view = viewOf(bytes);
  while (at + 8 <= bytes.length && isChunkId(view, at)) {
    const size = view.getUint32(at + 4, little);
    at += 8 + size + (size & 1);
  }
  return at === bytes.length || at === bytes.length + 1;
}

/** The fmt chunk of WAV and of Wave64. @throws AudioError  a format that is not read */
export function parseFormat(chunk: Uint8Array, name: string, little: boolean): PcmFormat {
  if (chunk.length < LEAST_FORMAT)
    throw new AudioError(name, "fmt.size", "at least 16", chunk.length, convertIt);
  const view = viewOf(chunk);
  let tag = view.getUint16(0, little);
  const channels = view.getUint16(2, little);
  const rate = view.getUint32(4, little);
  const blockAlign = view.getUint16(12, little);
  let bits = view.getUint16(14, little);
  if (tag === EXTENSIBLE) tag = parseExtension(chunk, name, little);
  const allowed = WIDTHS[tag];
  if (!allowed) {
    const known = TAG_NAMES[tag] ? ` (${TAG_NAMES[tag]})` : "";
    throw new AudioError(
      name,
      "fmt.tag",
      "1 (PCM), 2 or 17 (ADPCM), 3 (float), 6 (A-law), 7 (mu-law) or 65534 (extensible)",
      `${tag}${known}`,
      convertIt,
    );
  }
  if (channels < 1 || channels > MAX_CHANNELS)
    throw new AudioError(name, "fmt.channels", `1..${MAX_CHANNELS}`, channels, convertIt);
  checkSampleRate(name, "fmt.sampleRate", rate);
  if (tag === PCM && bits > 0) bits = 8 * Math.ceil(bits / 8); // fewer bits stand at the top of whole bytes
  if (!allowed.includes(bits)) {
    throw new AudioError(
      name,
      "fmt.bitsPerSample",
      `${allowed.join(", ")} for ${TAGS_READ[tag]}`,
      bits,
      convertIt,
    );
  }
  const slot = bits === 24 && blockAlign === 4 * channels ? 4 : undefined;
  const frame = isAdpcm(tag)
    ? adpcmBlock({ tag, channels, blockAlign }, name)
    : channels * (slot ?? bits / 8);
  if (blockAlign > frame)
    throw new AudioError(
      name,
      "fmt.blockAlign",
      `${frame} for ${channels} x ${bits} bits`,
      blockAlign,
      convertIt,
    );
  return { tag, channels, rate, bits, blockAlign: frame, slot, little };
}

/** @returns the bytes of a block */
function adpcmBlock(format: AdpcmFormat, name: string): number {
  const { tag, channels, blockAlign } = format;
  if (channels > 2)
    throw new AudioError(name, "fmt.channels", `1 or 2 for ${TAGS_READ[tag]}`, channels, convertIt);
  if (blockAlign < adpcmHead(format))
    throw new AudioError(name, "fmt.blockAlign", `at least ${adpcmHead(format)}`, blockAlign, convertIt);
  return blockAlign;
}

/** @returns the format tag inside a WAVEFORMATEXTENSIBLE */
function parseExtension(chunk: Uint8Array, name: string, little: boolean): number {
  const view = viewOf(chunk);
  const bits = view.getUint16(14, little);
  if (chunk.length < 40)
    throw new AudioError(name, "fmt.size", "at least 40 for an extensible format", chunk.length, convertIt);
  const valid = view.getUint16(18, little);
  if (valid > bits) throw new AudioError(name, "fmt.validBitsPerSample", `at most ${bits}`, valid, convertIt);
  const guid = Array.from(chunk.subarray(24, 40));
  if (SUBTYPE_TAIL.some((byte, i) => guid[i + 2] !== byte)) {
    const hex = guid.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    throw new AudioError(name, "fmt.subFormat", "a KSDATAFORMAT_SUBTYPE of PCM or float", hex, convertIt);
  }
  return view.getUint16(24, little);
}

function ascii(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

function quote(id: string): string {
  return JSON.stringify(id);
}
