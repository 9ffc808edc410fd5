import { open, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { isWav, wavSeconds } from "../frontend/wav.js";

const HEAD_BYTES = 64 << 10;

/** The start and the end of a file. */
interface Ends {
  readonly head: DataView;
  readonly tail: Uint8Array;
  readonly size: number;
}

/**
 * Seconds of an audio file by its header, without decoding: WAV, FLAC, Ogg (Opus, Vorbis) and MP3.
 * An MP3 without a count of frames is taken to have the first frame's rate throughout.
 * @returns undefined  no regular file, another container, a damaged header, or a stream of unknown length
 */
export async function audioSeconds(file: string): Promise<number | undefined> {
  if (!(await stat(file)).isFile()) return undefined; // opening a pipe waits for its writer
  const handle = await open(file, "r");
  try {
    return await partSeconds(handle, 0, (await handle.stat()).size);
  } finally {
    await handle.close();
  }
}

/** The same of audio that lies within a file, such as a member of a tar: `size` bytes from `begin` on. */
export async function partSeconds(
  handle: FileHandle,
  begin: number,
  size: number,
): Promise<number | undefined> {
  try {
    const seconds = read(await readEnds(handle, begin, size));
    return seconds !== undefined && Number.isFinite(seconds) && seconds > 0 ? seconds : undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined; // a header that ends early
    throw error;
  }
}

/** Seconds of a WAV or FLAC file whose header counts its samples; undefined of any other. */
export async function countedSeconds(file: string): Promise<number | undefined> {
  return /\.(?:wav|flac)$/iu.test(file) ? audioSeconds(file).catch(() => undefined) : undefined;
}

async function readEnds(handle: FileHandle, begin: number, size: number): Promise<Ends> {
  const part = async (at: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(Math.min(HEAD_BYTES, size - at));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, begin + at);
    return bytes.subarray(0, bytesRead);
  };
  const head = await part(0);
  const tail = await part(Math.max(0, size - HEAD_BYTES));
  return { head: new DataView(head.buffer, head.byteOffset, head.length), tail, size };
}

function read(ends: Ends): number | undefined {
  const { head, size } = ends;
  if (head.byteLength < 12) return undefined;
  const mark = ascii(head, 0, 4);
  const bytes = new Uint8Array(head.buffer, head.byteOffset, head.byteLength);
  if (isWav(bytes) && ascii(head, 8, 4) === "WAVE") return wavSeconds(bytes, size, "audio");
  if (mark === "fLaC") return flacSeconds(head);
  if (mark === "OggS") return oggSeconds(ends);
  return mp3Seconds(ends);
}

function ascii(view: DataView, at: number, length: number): string {
  return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length));
}

/** @source RFC 9639: the rate is 20 bits from byte 18, the samples are the 36 bits up to byte 25 */
function flacSeconds(head: DataView): number {
  const samples = (head.getUint8(21) & 15) * 2 ** 32 + head.getUint32(22);
  return samples / (head.getUint32(18) >>> 12);
}

/**
 * The last page's granule position is the number of samples; of Opus at 48 kHz, with the pre-skip.
 * @source RFC 3533, RFC 7845
 */
function oggSeconds({ head, tail }: Ends): number | undefined {
  const page = Buffer.from(tail.buffer, tail.byteOffset, tail.length);
  const last = page.lastIndexOf("OggS");
  if (last < 0 || last + 14 > page.length) return undefined;
  const position = Number(page.readBigInt64LE(last + 6));
  const packet = 27 + head.getUint8(26); // the page's header ends with a list of sizes
  if (ascii(head, packet, 8) === "OpusHead") return (position - head.getUint16(packet + 10, true)) / 48_000;
  if (ascii(head, packet + 1, 6) === "vorbis") return position / head.getUint32(packet + 12, true);
  return undefined;
}

const MP3_RATES = [44_100, 48_000, 32_000];
/** kbit/s of layer III by index: MPEG 1, then MPEG 2 and 2.5. @source ISO/IEC 11172-3, 13818-3 */
const MP3_BITS = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

function mp3Seconds({ head, size }: Ends): number | undefined {
  const tag = ascii(head, 0, 3) === "ID3" ? 10 + syncsafe(head.getUint32(6)) : 0;
  const frame = head.getUint32(tag);
  if (frame >>> 21 !== 0x7ff || ((frame >>> 17) & 3) !== 1) return undefined; // not layer III
  const version = (frame >>> 19) & 3; // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
  const rate = MP3_RATES[(frame >>> 10) & 3] / (version === 3 ? 1 : version === 2 ? 2 : 4);
  const samples = version === 3 ? 1152 : 576;
  const mono = ((frame >>> 6) & 3) === 3;
  const side = version === 3 ? (mono ? 17 : 32) : mono ? 9 : 17;
  const mark = ascii(head, tag + 4 + side, 4);
  const counted = (mark === "Xing" || mark === "Info") && (head.getUint32(tag + 8 + side) & 1) === 1;
  if (counted) return (head.getUint32(tag + 12 + side) * samples) / rate;
  const bits = MP3_BITS[version === 3 ? 0 : 1][(frame >>> 12) & 15] * 1000;
  return ((size - tag) * 8) / bits;
}

function syncsafe(value: number): number {
  return (
    ((value >>> 24) << 21) | (((value >>> 16) & 127) << 14) | (((value >>> 8) & 127) << 7) | (value & 127)
  );
}
