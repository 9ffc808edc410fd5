import { viewOf } from "./spans.js";
import { adpcmFrames, adpcmHead, isAdpcm, readAdpcm } from "./adpcm.js";
import { checkFinite } from "./audio.js";
import type { Budget } from "./budget.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import { type Heard, Hearing, type Tap } from "./hearing.js";
import { fromALaw, fromMuLaw } from "./g711.js";

/** Format tags of mmreg.h for samples without blocks. */
export const PCM = 1;
export const FLOAT = 3;
export const A_LAW = 6;
export const MU_LAW = 7;

export interface PcmFormat {
  readonly tag: number;
  readonly channels: number;
  readonly rate: number;
  /** Of a stored sample: a multiple of 8; 4 of ADPCM. */
  readonly bits: number;
  /** Bytes of a sample of every channel; of ADPCM, of a block. */
  readonly blockAlign: number;
  /** Bytes from one channel's sample to the next. Default: those of its bits. */
  readonly slot?: number | undefined;
  /** Whether the lowest byte comes first. */
  readonly little: boolean;
  /** Whether bytes are signed, as in AIFF and AU. WAV's are not. */
  readonly signedBytes?: boolean;
}

/** The samples' bytes, the header's claims, and the clip's budget. */
export interface PcmData {
  readonly data: Uint8Array;
  readonly promised: number;
  readonly counted?: number;
  readonly budget: Budget;
}

/**
 * Samples of a channel in `bytes` bytes.
 * @param counted  a header's own count, which is used where it ends in the last block: the rest is
 *                 filling
 */
export function framesIn(format: PcmFormat, bytes: number, counted = 0): number {
  if (!isAdpcm(format.tag)) return Math.floor(bytes / format.blockAlign);
  const frames = adpcmFrames(format, bytes);
  const last = bytes % format.blockAlign || format.blockAlign;
  return counted < frames && counted > adpcmFrames(format, bytes - last) ? counted : frames;
}

/**
 * Samples of a container. Fewer bytes than promised, and invalid blocks, are reported as `damage`.
 * @param field  the field of the samples' size, for errors
 * @throws AudioError  no samples; a clip that passes the budget; floats that are NaN or infinite;
 *                     slots that hold no 24 bits
 */
export function pcmAudio(
  name: string,
  field: string,
  given: PcmFormat,
  { data, promised, counted, budget }: PcmData,
): Heard {
  const format = given.slot === 4 ? inSlots(data, given, name) : given;
  const all = framesIn(format, promised, counted);
  const frames = promised > data.length ? framesIn(format, data.length) : all;
  if (frames === 0) {
    const expected = isAdpcm(format.tag)
      ? `at least the ${adpcmHead(format)} bytes that a block begins with`
      : `at least one frame of ${format.blockAlign} bytes`;
    throw new AudioError(name, field, expected, data.length, fetchAgain);
  }
  budget.lasts(frames / format.rate);
  const { audio, damaged } = budget.kept
    ? hear(data, frames, format, new Hearing(name, budget.kept))
    : whole(data, frames, format, name);
  return withFaults(audio, { damaged, frames, missing: promised > data.length, all, rate: format.rate });
}

interface Faults {
  /** Invalid blocks. */
  readonly damaged: number;
  readonly frames: number;
  readonly missing: boolean;
  /** Frames by the header. */
  readonly all: number;
  readonly rate: number;
}

function withFaults(audio: Heard, { damaged, frames, missing, all, rate }: Faults): Heard {
  const seconds = (count: number): string => (count / rate).toFixed(2);
  const faults: string[] = [];
  if (missing) faults.push(`${seconds(frames)} s could be read of the ${seconds(all)} s in the header`);
  if (damaged > 0) faults.push(`blocks that could not be read are silent: ${damaged}`);
  const damage = faults.length > 0 ? faults.join("; ") : undefined;
  return { ...audio, ...(damage !== undefined && { damage }) };
}

/** Samples that lie in a file which is not read whole. */
export interface PcmRegion {
  readonly format: PcmFormat;
  /** First byte of the samples, and their bytes. */
  readonly start: number;
  readonly length: number;
  readonly promised: number;
  readonly counted?: number | undefined;
}

/**
 * Samples of a region, read a megabyte at a time, into the budget's tap; see pcmAudio.
 * @param read  bytes of the file
 * @throws AudioError  as pcmAudio; the signal's reason; what `read` and the sink throw
 */
export async function streamPcm(
  { format, start, length, promised, counted }: PcmRegion,
  read: (at: number, length: number) => Promise<Uint8Array>,
  budget: Budget,
): Promise<Heard> {
  const tap = budget.kept as Tap;
  const all = framesIn(format, promised, counted);
  const frames = promised > length ? framesIn(format, length) : all;
  budget.lasts(frames / format.rate);
  const hearing = new Hearing(budget.name, tap);
  const piece = pieceBytes(format);
  let [damaged, left] = [0, frames];
  for (let at = 0; left > 0 && !budget.stopped; at += piece) {
    await budget.pause();
    const bytes = await read(start + at, Math.min(piece, length - at));
    const count = Math.min(left, framesIn(format, bytes.length));
    if (count === 0) break;
    const block = readBlock(bytes, count, format);
    hearing.push(block.channels, format.rate);
    damaged += block.damaged;
    left -= count;
    await tap.sink(hearing.take());
    budget.stopped = tap.probe === true && format.channels === 1;
  }
  const { rate } = format;
  return withFaults(hearing.finish(false), { damaged, frames, missing: promised > length, all, rate });
}

/**
 * 24 bits in slots of 4 bytes: the low three where the highest is 0 or their sign, else the high
 * three where the lowest is 0.
 */
function inSlots(data: Uint8Array, format: PcmFormat, name: string): PcmFormat {
  const [top, next, bottom] = format.little ? [3, 2, 0] : [0, 1, 3];
  let [low, high] = [true, true];
  for (let at = 0; at + 4 <= data.length && (low || high); at += 4) {
    const sign = data[at + next] < 128 ? 0 : 255;
    low &&= data[at + top] === 0 || data[at + top] === sign;
    high &&= data[at + bottom] === 0;
  }
  if (low) return format;
  if (high) return { ...format, bits: 32, slot: undefined };
  const expected = `${format.channels * 3} for ${format.channels} x 24 bits, or samples of 24 bits in 4 bytes each`;
  throw new AudioError(name, "fmt.blockAlign", expected, format.blockAlign, convertIt);
}

/** Reports a whole file that follows the samples of one, as `cat` joins them. */
export function withoutNext(audio: Heard, follows: boolean): Heard {
  if (!follows) return audio;
  const next = "another file follows its samples and was left out";
  return { ...audio, damage: audio.damage === undefined ? next : `${audio.damage}; ${next}` };
}

interface Read {
  readonly audio: Heard;
  /** Invalid blocks. */
  readonly damaged: number;
}

function whole(data: Uint8Array, frames: number, format: PcmFormat, name: string): Read {
  const { channels, damaged } = readBlock(data, frames, format);
  if (format.tag === FLOAT) checkFinite(name, channels);
  return { audio: { channels, sampleRate: format.rate }, damaged };
}

const BLOCK = 2 ** 20; // bytes that are read at a time, over all channels

/** Whole frames or blocks. */
function pieceBytes({ blockAlign }: PcmFormat): number {
  return blockAlign * Math.max(1, Math.floor(BLOCK / blockAlign));
}

/** The samples in pieces, each of whole frames or blocks. */
function hear(data: Uint8Array, frames: number, format: PcmFormat, hearing: Hearing): Read {
  const piece = pieceBytes(format);
  let damaged = 0;
  for (let at = 0, left = frames; left > 0; at += piece) {
    const bytes = data.subarray(at, at + piece);
    const count = Math.min(left, framesIn(format, bytes.length));
    if (count === 0) break;
    const block = readBlock(bytes, count, format);
    hearing.push(block.channels, format.rate);
    damaged += block.damaged;
    left -= count;
  }
  return { audio: hearing.finish(false), damaged };
}

function readBlock(
  data: Uint8Array,
  frames: number,
  format: PcmFormat,
): { readonly channels: Float32Array[]; readonly damaged: number } {
  if (isAdpcm(format.tag)) return readAdpcm(data, frames, format);
  return { channels: readSamples(data, frames, format), damaged: 0 };
}

function readSamples(data: Uint8Array, frames: number, format: PcmFormat): Float32Array[] {
  const view = viewOf(data);
  const width = format.slot ?? format.bits / 8;
  const read = sampleReader(view, format);
  const first = format.slot === 4 && !format.little ? 1 : 0;
  return Array.from({ length: format.channels }, (_, c) => {
    const samples = new Float32Array(frames);
    let at = first + c * width;
    for (let i = 0; i < frames; i++, at += format.blockAlign) samples[i] = read(at);
    return samples;
  });
}

function sampleReader(view: DataView, { tag, bits, little, signedBytes }: PcmFormat): (at: number) => number {
  if (tag === A_LAW) return (at) => fromALaw(view.getUint8(at));
  if (tag === MU_LAW) return (at) => fromMuLaw(view.getUint8(at));
  if (tag === FLOAT)
    return bits === 32 ? (at) => view.getFloat32(at, little) : (at) => view.getFloat64(at, little);
  switch (bits) {
    case 8:
      return signedBytes ? (at) => view.getInt8(at) / 2 ** 7 : (at) => (view.getUint8(at) - 128) / 2 ** 7;
    case 16:
      return (at) => view.getInt16(at, little) / 2 ** 15;
    case 24:
      return little
        ? (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23
        : (at) => (view.getInt8(at) * 2 ** 16 + view.getUint16(at + 1)) / 2 ** 23;
    default:
      return (at) => view.getInt32(at, little) / 2 ** 31;
  }
}
