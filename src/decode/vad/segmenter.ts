import { FunasrError } from "../../errors.js";

/** Settings or probabilities that voice activity detection cannot work with. */
export class VadError extends FunasrError {}

/** A part of a recording that holds speech, in whole milliseconds; `endMs` is not in it. */
export interface SpeechSegment {
  readonly startMs: number;
  readonly endMs: number;
}

/** When segments begin, end and are cut. */
export interface SegmenterOptions {
  /**
   * Silence that ends a segment, ms, 60,000 at most. Default: 2000, and less where a segment is
   * long (`SCHEDULE`).
   */
  readonly maxEndSilenceMs?: number | undefined;
  /** A longer segment is cut, ms. Default: 60,000. */
  readonly maxSegmentMs?: number | undefined;
  /**
   * A frame is speech where p(speech) - p(silence) is at least this. Default: 0.5, with
   * `maxEndSilenceMs` 0.6.
   */
  readonly threshold?: number | undefined;
  /**
   * The schedule is looked up when a block of this length begins, ms. Default: 60,000, as FunASR
   * reads files; its streams have 60.
   */
  readonly blockMs?: number | undefined;
}

/** Silence that `maxEndSilenceMs` may be at most, ms: audio of that length is held for it. */
export const MOST_SILENCE_MS = 60_000;

/** Length of a frame, ms. */
export const FRAME_MS = 10;

const WINDOW = 20; // frames
const MAJORITY = 15; // speech frames of the window: the state changes there
const LOOK_BACK = 20; // frames before the window that belong to a segment
const LOOK_AHEAD = 10; // frames of silence that belong to a segment
const TURN_MS = 150; // speech to silence: part of the silence that ends a segment
const HELD = 2; // frames that wait for later ones: the last frame is read differently

/** Silence that ends a segment (ms) of at most this length (ms, in whole blocks). */
const SCHEDULE: readonly (readonly [limit: number, silence: number])[] = [
  [10_000, 2000],
  [20_000, 1000],
  [30_000, 800],
  [40_000, 600],
  [50_000, 400],
  [60_000, 200],
  [Infinity, 100],
];

type Change = "begin" | "speech" | "end" | "silence";

/** Whether most of the last 200 ms are speech. */
class SpeechWindow {
  readonly #frames = new Uint8Array(WINDOW);
  #at = 0;
  #sum = 0;
  #speech = false;

  push(speech: boolean): Change {
    this.#sum += Number(speech) - this.#frames[this.#at];
    this.#frames[this.#at] = Number(speech);
    this.#at = (this.#at + 1) % WINDOW;
    const before = this.#speech;
    if (!before && this.#sum >= MAJORITY) this.#speech = true;
    else if (before && this.#sum <= MAJORITY) this.#speech = false;
    if (before === this.#speech) return before ? "speech" : "silence";
    return before ? "end" : "begin";
  }
}

/**
 * Segments of speech from each frame's probability of silence, whatever the sizes of the pieces
 * that the frames come in.
 * @source FunASR 1.4.16 `fsmn_vad_streaming/model.py`: `inference`, `DetectOneFrame`
 */
export class Segmenter {
  readonly #held: number[] = [];
  #window = new SpeechWindow();
  /** The next frame. */
  #frame = 0;
  /** Of the open segment. */
  #start: number | undefined;
  /** The first frame that no segment has. */
  #free = 0;
  /** Frames of silence up to this one. */
  #quiet = 0;
  #endSilenceMs: number;
  readonly #threshold: number;
  readonly #maxFrames: number;
  readonly #scheduled: boolean;
  readonly #block: number; // samples
  #blocks = 0;
  /** Length of the open segment in whole blocks, ms. */
  #spokenMs = 0;
  /** Whether a segment ended in this block. */
  #ended = false;

  /** @throws VadError  an option out of range */
  constructor(options: SegmenterOptions = {}) {
    checkSegmenterOptions(options);
    const { maxEndSilenceMs, maxSegmentMs = 60_000, blockMs = 60_000 } = options;
    this.#scheduled = maxEndSilenceMs === undefined;
    this.#threshold = options.threshold ?? (this.#scheduled ? 0.5 : 0.6);
    this.#endSilenceMs = (maxEndSilenceMs ?? SCHEDULE[0][1]) - TURN_MS;
    this.#maxFrames = maxSegmentMs / FRAME_MS;
    this.#block = blockMs * SAMPLES_PER_MS;
  }

  /** The segment that has not ended, up to the newest frame that was looked at. */
  get open(): SpeechSegment | undefined {
    if (this.#start === undefined) return undefined;
    return { startMs: this.#start * FRAME_MS, endMs: this.#frame * FRAME_MS };
  }

  /** The earliest time at which a segment may begin that was not returned yet, ms. */
  get pendingMs(): number {
    const start = this.#start ?? Math.max(this.#free, this.#frame - WINDOW - LOOK_BACK);
    return start * FRAME_MS;
  }

  /**
   * @param silence  probability of silence of each next frame
   * @returns        the segments that ended
   * @throws VadError  a probability below 0 or NaN
   */
  push(silence: ArrayLike<number>): SpeechSegment[] {
    const ended: SpeechSegment[] = [];
    for (let i = 0; i < silence.length; i++) {
      if (!(silence[i] >= 0))
        throw new VadError(
          `segments: probability of frame ${this.#frame + this.#held.length}: expected 0 to 1, got ${silence[i]}`,
        );
      this.#held.push(silence[i]);
      if (this.#held.length > HELD) this.#take(this.#held.shift()!, false, ended);
    }
    return ended;
  }

  /**
   * Ends the recording.
   * @param samples  of the recording at 16 kHz. Default: as few as give these frames; the two last
   *                 frames of a block depend on it
   * @returns        the segments that ended
   */
  end(samples?: number): SpeechSegment[] {
    const ended: SpeechSegment[] = [];
    const frames = this.#frame + this.#held.length;
    const length = samples ?? FRAME_SAMPLES + (frames - 1) * SHIFT_SAMPLES;
    while (this.#held.length > 0)
      this.#take(this.#held.shift()!, this.#held.length === 0, ended, Math.floor(length / this.#block));
    return ended;
  }

  /** @param blocks  whole ones of the recording, where its length is known */
  #take(silence: number, last: boolean, ended: SpeechSegment[], blocks = Infinity): void {
    const frame = this.#frame++;
    while (this.#scheduled && this.#blocks < blocks && this.#blockBegin() <= frame) this.#enterBlock();
    const change = this.#window.push(1 - silence >= silence + this.#threshold);
    this.#quiet = change === "silence" ? this.#quiet + 1 : 0;
    const end = this.#start === undefined ? undefined : this.#endAt(frame, this.#start, change, last);
    if (this.#start === undefined && change === "begin") {
      this.#start = Math.max(this.#free, frame - WINDOW - LOOK_BACK);
      if (last) this.#close(frame, ended);
    } else if (end !== undefined) this.#close(end, ended);
  }

  /** The last frame of the open segment, where it ends by this frame. */
  #endAt(frame: number, start: number, change: Change, last: boolean): number | undefined {
    if (change === "silence" && this.#quiet * FRAME_MS >= this.#endSilenceMs) {
      const back = Math.trunc(this.#endSilenceMs / FRAME_MS) - LOOK_AHEAD - 1;
      return frame - Math.max(0, back);
    }
    return last || frame - start + 1 > this.#maxFrames ? frame : undefined;
  }

  #close(end: number, ended: SpeechSegment[]): void {
    ended.push({ startMs: this.#start! * FRAME_MS, endMs: (end + 1) * FRAME_MS });
    this.#start = undefined;
    this.#free = end + 1;
    this.#quiet = 0;
    this.#ended = true;
    this.#window = new SpeechWindow();
  }

  /** The first frame of the next block: a block's last two frames wait for the samples of the next. */
  #blockBegin(): number {
    const samples = (this.#blocks + 1) * this.#block;
    return Math.max(0, Math.floor((samples - FRAME_SAMPLES) / SHIFT_SAMPLES) - 1);
  }

  #enterBlock(): void {
    this.#blocks++;
    if (this.#ended) this.#spokenMs = 0;
    this.#ended = false;
    if (this.#start !== undefined) this.#spokenMs += this.#block / SAMPLES_PER_MS;
    const [, silence] = SCHEDULE.find(([limit]) => this.#spokenMs <= limit)!;
    this.#endSilenceMs = Math.max(0, silence - TURN_MS);
  }
}

const SAMPLES_PER_MS = 16;
const FRAME_SAMPLES = 400;
const SHIFT_SAMPLES = 160;

/** @throws VadError  an option out of range */
export function checkSegmenterOptions(options: SegmenterOptions): void {
  const check = (name: keyof SegmenterOptions, least: number, most: number): void => {
    const value = options[name];
    if (value === undefined || (value >= least && value <= most)) return;
    throw new VadError(`segments: ${name}: expected a number from ${least} to ${most}, got ${value}`);
  };
  check("maxEndSilenceMs", 0, MOST_SILENCE_MS);
  check("maxSegmentMs", 1000, 86_400_000);
  check("threshold", -1, 1);
  check("blockMs", FRAME_MS, 86_400_000);
}
