import { nextByte } from "./spans.js";

/** Successive frames of one rate and channel count, without the bytes between them. */
export interface Mp3Run {
  readonly rate: number;
  readonly mono: boolean;
  /** Byte ranges [begin, end) of its frames. */
  readonly spans: [number, number][];
  samples: number;
}

/** The frames of an MP3. */
export interface Mp3Scan {
  readonly runs: readonly Mp3Run[];
  /** What is missing: fewer frames than the Info tags count, or the last frame is cut. */
  readonly damage?: string | undefined;
}

interface Frame {
  readonly rate: number;
  readonly mono: boolean;
  readonly size: number;
  readonly samples: number;
  /** From the header to a Xing or Info tag, bytes. */
  readonly tag: number;
}

const RATES = [44_100, 48_000, 32_000];
/** kbit/s of layer III by index: MPEG 1, then MPEG 2 and 2.5. */
const BITS = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/**
 * Frames that make a new run: random bytes hold a header every few kB, hardly ever three in a row.
 */
const SURE = 3;
/** The scan ends after so many runs. */
const MOST_RUNS = 10_000;

/**
 * Finds the frames of an MP3. Tags, padding and other bytes are left out.
 * @param bytes  the whole file
 * @returns      no run where there is no frame of a known size, as in a file of free bit rate
 * @source ISO/IEC 11172-3 and 13818-3, section 2.4; Xing's tag as LAME writes it
 */
export function scanMp3(bytes: Uint8Array): Mp3Scan {
  const runs: Mp3Run[] = [];
  let run: Mp3Run | undefined;
  let [at, frames, promised, cut] = [0, 0, 0, false];
  while (at + 4 <= bytes.length && runs.length < MOST_RUNS) {
    const frame = frameAt(bytes, at);
    const follows = run !== undefined && frame !== undefined && fits(frame, run) && at === endOf(run);
    if (!frame || !(follows || isSure(bytes, at, frame, runs.length === 0))) {
      at = nextByte(bytes, 0xff, at + 1);
      if (at < 0) break;
      continue;
    }
    if (at + frame.size > bytes.length) {
      cut = follows;
      break;
    }
    if (!run || !fits(frame, run)) {
      run = { rate: frame.rate, mono: frame.mono, spans: [], samples: 0 };
      runs.push(run);
    }
    if (at === endOf(run)) run.spans[run.spans.length - 1][1] = at + frame.size;
    else run.spans.push([at, at + frame.size]);
    const counted = countOf(bytes, at + frame.tag);
    if (counted === undefined) {
      frames++;
      run.samples += frame.samples;
    } else promised += counted;
    at += frame.size;
  }
  return { runs, damage: missing(frames, promised, cut) };
}

/**
 * Whether the bytes begin with a valid header of MPEG audio, layer III. Its bit rate may be free.
 */
export function isMp3Frame(bytes: Uint8Array): boolean {
  if (bytes.length < 4 || bytes[0] !== 0xff || (bytes[1] & 0xe0) !== 0xe0) return false;
  const [version, layer] = [(bytes[1] >> 3) & 3, (bytes[1] >> 1) & 3];
  return version !== 1 && layer === 1 && bytes[2] >> 4 !== 15 && ((bytes[2] >> 2) & 3) !== 3;
}

/** Whether three frames of one kind begin at `at`. */
export function isMp3Run(bytes: Uint8Array, at: number): boolean {
  const frame = frameAt(bytes, at);
  return frame !== undefined && isSure(bytes, at, frame, false);
}

function missing(frames: number, promised: number, cut: boolean): string | undefined {
  if (frames + 1 < promised) return `cut short: ${frames} of the ${promised} frames that it counts are there`;
  return cut ? "cut short: its last frame ends early" : undefined;
}

function fits(a: { rate: number; mono: boolean }, b: { rate: number; mono: boolean }): boolean {
  return a.rate === b.rate && a.mono === b.mono;
}

function endOf(run: Mp3Run): number {
  return run.spans.length === 0 ? -1 : run.spans[run.spans.length - 1][1];
}

/** Whether two more frames of the kind follow. If `alone`, the file may end before them. */
function isSure(bytes: Uint8Array, at: number, first: Frame, alone: boolean): boolean {
  let next = at + first.size;
  for (let i = 1; i < SURE; i++) {
    const frame = frameAt(bytes, next);
    if (!frame) return alone && next === bytes.length;
    if (!fits(frame, first)) return false;
    next += frame.size;
    if (next > bytes.length) return alone;
  }
  return true;
}

function frameAt(bytes: Uint8Array, at: number): Frame | undefined {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe0) !== 0xe0) return undefined;
  const version = (bytes[at + 1] >> 3) & 3; // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
  const [layer, bits] = [(bytes[at + 1] >> 1) & 3, bytes[at + 2] >> 4];
  const index = (bytes[at + 2] >> 2) & 3;
  if (version === 1 || layer !== 1 || bits === 0 || bits === 15 || index === 3) return undefined;
  const rate = RATES[index] / (version === 3 ? 1 : version === 2 ? 2 : 4);
  const samples = version === 3 ? 1152 : 576;
  const mono = bytes[at + 3] >> 6 === 3;
  const bitRate = BITS[version === 3 ? 0 : 1][bits] * 1000;
  const size = Math.floor((samples / 8) * (bitRate / rate)) + ((bytes[at + 2] >> 1) & 1);
  const side = version === 3 ? (mono ? 17 : 32) : mono ? 9 : 17;
  return { rate, mono, size, samples, tag: 4 + side };
}

/** Frames by a Xing or Info tag; 0: it has no count; undefined: there is no tag. */
function countOf(bytes: Uint8Array, at: number): number | undefined {
  if (at + 12 > bytes.length) return undefined;
  const mark = String.fromCharCode(...bytes.subarray(at, at + 4));
  if (mark !== "Xing" && mark !== "Info") return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  return (view.getUint32(4) & 1) === 1 ? view.getUint32(8) : 0;
}
