import { bySize } from "./decoders.js";
import { nextByte } from "./spans.js";
import { hasMark } from "./tags.js";

/** A FLAC's STREAMINFO. */
export interface StreamInfo {
  /** Samples of a channel; 0: unknown. */
  readonly total: number;
  readonly bits: number;
  readonly channels: number;
  readonly rate: number;
}

/** FLAC's STREAMINFO at `at`. @source RFC 9639, section 8.2 */
export function streamInfo(bytes: Uint8Array, at: number): StreamInfo {
  const byte = (i: number): number => bytes[at + i] ?? 0;
  const low = byte(14) * 2 ** 24 + ((byte(15) << 16) | (byte(16) << 8) | byte(17));
  return {
    total: (byte(13) & 15) * 2 ** 32 + low,
    bits: (((byte(12) & 1) << 4) | (byte(13) >> 4)) + 1,
    channels: ((byte(12) >> 1) & 7) + 1,
    rate: (byte(10) << 12) | (byte(11) << 4) | (byte(12) >> 4),
  };
}

/** The FLAC streams of a file, as `cat` joins them: at most 100, the last with all that follows. */
export function flacStreams(bytes: Uint8Array): Uint8Array[] {
  const begins = [0];
  for (let at = bytes.indexOf(0x66, 4); at >= 0 && begins.length < 100; at = nextByte(bytes, 0x66, at + 1))
    // "f"
    if (isFlacHead(bytes, at)) begins.push(at);
  return begins.map((begin, i) => bytes.subarray(begin, begins[i + 1]));
}

/** Whether a stream begins at `at`: its mark, then a STREAMINFO. */
export function isFlacHead(bytes: Uint8Array, at: number): boolean {
  return hasMark(bytes, at, "fLaC") && (bytes[at + 4] & 0x7f) === 0 && hasMark(bytes, at + 5, "\0\0\x22");
}

const FRAMES = 8; // of 2 MB at most each: 65,535 samples in 8 channels

const GAP = 2 ** 24; // more bytes without a sync code than a frame has: the stream has ended

/**
 * Pieces of FLAC that hold few frames, by the sync code that each frame begins with.
 * @source RFC 9639, section 9.1
 */
export function* byFlacFrames(bytes: Uint8Array): Generator<Uint8Array> {
  let [begin, frames] = [0, 0];
  let last = 0;
  for (let at = bytes.indexOf(0xff); at >= 0 && at - last < GAP; at = nextByte(bytes, 0xff, at + 1)) {
    if ((bytes[at + 1] & 0xfe) === 0xf8) {
      frames++;
      last = at;
    }
    if (frames <= FRAMES && at - begin < 65_536) continue;
    yield* bySize(bytes.subarray(begin, at), 65_536);
    [begin, frames] = [at, 1];
  }
  yield* bySize(bytes.subarray(begin, last + GAP), 65_536);
}

/**
 * Samples of a channel by the last two successive frames in the stream's last 4 MiB.
 * @returns 0 where there are none
 * @source RFC 9639, section 9.1
 */
export function flacLength(bytes: Uint8Array): number {
  let later: FrameHead | undefined;
  const least = Math.max(0, bytes.length - 2 ** 22);
  for (let at = bytes.lastIndexOf(0xff); at >= least; at = at === 0 ? -1 : bytes.lastIndexOf(0xff, at - 1)) {
    const head = frameHead(bytes, at);
    if (!head) continue;
    if (later?.variable === head.variable) {
      if (head.variable && head.number + head.block === later.number) return later.number + later.block;
      if (!head.variable && head.number + 1 === later.number) return later.number * head.block + later.block;
    }
    later = head;
  }
  return 0;
}

/**
 * Finds the last frame, and each place where its checksum lets it end: other bytes may follow it.
 * @param total  samples of a channel that the stream has
 * @returns      where it begins, its samples, and the places in order; undefined: not in the last 4
 *               MiB
 * @source RFC 9639, sections 9.1 and 9.3
 */
export function lastFlacFrame(bytes: Uint8Array, total: number): LastFrame | undefined {
  const least = Math.max(0, bytes.length - 2 ** 22);
  const usual = bytes[10] * 256 + bytes[11]; // samples of a frame of fixed size, by STREAMINFO
  for (let at = bytes.lastIndexOf(0xff); at >= least; at = at === 0 ? -1 : bytes.lastIndexOf(0xff, at - 1)) {
    const head = frameHead(bytes, at);
    if (!head || (head.variable ? head.number : head.number * usual) + head.block !== total) continue;
    const ends: number[] = [];
    let [sum, run] = [0, 0];
    for (let i = at; i < bytes.length; i++) {
      sum = ((sum << 8) & 0xffff) ^ SUMS[(sum >> 8) ^ bytes[i]];
      run = sum === 0 ? run + 1 : 0;
      if (run > 0 && run <= 3 && i >= at + 8) ends.push(i + 1); // zeros keep a sum of 0; the checksum itself may be two of them
    }
    return { begin: at, samples: head.block, ends };
  }
  return undefined;
}

export interface LastFrame {
  readonly begin: number;
  readonly samples: number;
  readonly ends: readonly number[];
}

/** CRC-16 of each byte, polynomial 0x8005. */
const SUMS = Uint16Array.from({ length: 256 }, (_, byte) => {
  let sum = byte << 8;
  for (let i = 0; i < 8; i++) sum = sum & 0x8000 ? ((sum << 1) ^ 0x8005) & 0xffff : sum << 1;
  return sum;
});

interface FrameHead {
  /** Whether `number` counts samples, not frames. */
  readonly variable: boolean;
  readonly number: number;
  /** Samples of a channel. */
  readonly block: number;
}

function frameHead(bytes: Uint8Array, at: number): FrameHead | undefined {
  if (bytes[at] !== 0xff || (bytes[at + 1] & 0xfe) !== 0xf8 || at + 16 > bytes.length) return undefined;
  const [size, rate] = [bytes[at + 2] >> 4, bytes[at + 2] & 15];
  const reserved = size === 0 || rate === 15 || bytes[at + 3] >> 4 > 10 || (bytes[at + 3] & 1) !== 0;
  const more = Math.clz32((~bytes[at + 4] & 0xff) << 24); // bytes of the number, where there are several
  if (reserved || more === 1 || more > 7) return undefined;
  let number = more === 0 ? bytes[at + 4] : bytes[at + 4] & (0x7f >> more);
  let next = at + 5;
  for (; next < at + 4 + more; next++) {
    if (bytes[next] >> 6 !== 2) return undefined;
    number = number * 64 + (bytes[next] & 63);
  }
  let block = size === 1 ? 192 : size < 6 ? 576 << (size - 2) : 256 << (size - 8);
  if (size === 6) block = bytes[next++] + 1;
  if (size === 7) block = bytes[next++] * 256 + bytes[next++] + 1;
  next += rate === 12 ? 1 : rate > 12 ? 2 : 0;
  return checksum(bytes.subarray(at, next)) === bytes[next]
    ? { variable: (bytes[at + 1] & 1) === 1, number, block }
    : undefined;
}

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let i = 0; i < 8; i++) sum = sum & 0x80 ? ((sum << 1) ^ 7) & 0xff : sum << 1;
  }
  return sum;
}
