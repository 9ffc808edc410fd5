import { nextByte } from "./spans.js";
import { afterTags } from "./tags.js";

/** Successive frames of one rate and channel count, without the bytes between them. */
export interface AdtsRun {
  readonly rate: number;
  readonly channels: number;
  /** Byte ranges [begin, end) of its frames. */
  readonly spans: [number, number][];
  /** Samples of a channel. */
  samples: number;
}

/** The frames of an ADTS file. */
export interface AdtsScan {
  readonly runs: readonly AdtsRun[];
  readonly damage?: string | undefined;
}

const RATES = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350,
];

/** The scan ends after so many runs. */
const MOST_RUNS = 10_000;

/**
 * Finds the frames of an AAC file. Other bytes between them are damage; tags are not: each segment
 * of a live stream begins with one.
 * @param bytes  the whole file
 * @source ISO/IEC 13818-7, section 6.2
 */
export function scanAdts(bytes: Uint8Array): AdtsScan {
  const runs: AdtsRun[] = [];
  let [at, end, stray, cut] = [0, 0, 0, false]; // end: of the last frame and its tags
  while (at + 7 <= bytes.length && runs.length < MOST_RUNS) {
    if (at === end) at = end = afterTags(bytes, end);
    const frame = frameAt(bytes, at);
    const run = runs.at(-1);
    const follows = run !== undefined && at === end && frame !== undefined && fits(frame, run);
    if (!frame || !(follows || isSure(bytes, at, frame, run === undefined))) {
      at = nextByte(bytes, 0xff, at + 1);
      if (at < 0) break;
      continue;
    }
    if (at + frame.size > bytes.length) {
      cut = follows;
      break;
    }
    if (run && end < at) stray++;
    addFrame(runs, at, frame);
    at = end = at + frame.size;
  }
  if (cut) return { runs, damage: "cut short: its last frame ends early" };
  const places = `${stray} ${stray === 1 ? "place" : "places"}`;
  return { runs, damage: stray > 0 ? `bytes that are no frame were left out in ${places}` : undefined };
}

/** Whether three frames of one kind begin at `at`. */
export function isAdtsRun(bytes: Uint8Array, at: number): boolean {
  const frame = frameAt(bytes, at);
  return frame !== undefined && isSure(bytes, at, frame, false);
}

function addFrame(runs: AdtsRun[], at: number, frame: Frame): void {
  let run = runs.at(-1);
  if (!run || !fits(frame, run)) {
    run = { rate: frame.rate, channels: frame.channels, spans: [], samples: 0 };
    runs.push(run);
  }
  const last = run.spans.at(-1);
  if (last?.[1] === at) last[1] += frame.size;
  else run.spans.push([at, at + frame.size]);
  run.samples += frame.samples;
}

interface Frame {
  readonly rate: number;
  readonly channels: number;
  readonly size: number;
  readonly samples: number;
}

function fits(a: Pick<Frame, "rate" | "channels">, b: Pick<Frame, "rate" | "channels">): boolean {
  return a.rate === b.rate && a.channels === b.channels;
}

/** Whether two more frames of the kind follow. If `alone`, the file may end before them. */
function isSure(bytes: Uint8Array, at: number, first: Frame, alone: boolean): boolean {
  let next = at + first.size;
  for (let i = 1; i < 3; i++) {
    if (next >= bytes.length) return alone;
    const frame = frameAt(bytes, next);
    if (!frame || !fits(frame, first)) return false;
    next += frame.size;
  }
  return true;
}

function frameAt(bytes: Uint8Array, at: number): Frame | undefined {
  if (at + 7 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xf6) !== 0xf0) return undefined;
  const rate = RATES[(bytes[at + 2] >> 2) & 15];
  const size = ((bytes[at + 3] & 3) << 11) | (bytes[at + 4] << 3) | (bytes[at + 5] >> 5);
  if (rate === undefined || size < 7) return undefined;
  const channels = ((bytes[at + 2] & 1) << 2) | (bytes[at + 3] >> 6);
  return { rate, channels, size, samples: 1024 * ((bytes[at + 6] & 3) + 1) };
}
