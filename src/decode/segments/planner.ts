import { FRAME_MS, type SpeechSegment } from "../vad/segmenter.js";

export interface PlanOptions {
  /** Neighbours are joined up to this length, ms; 0: not at all. */
  readonly mergeMs: number;
  /** A longer segment is cut, ms. */
  readonly maxMs: number;
}

/** A segment for the model. */
export interface PlannedSegment extends SpeechSegment {
  /** The neighbours that were joined to it; absent: it is one. */
  readonly parts?: readonly SpeechSegment[];
}

/** Neighbours with a longer silence between them stay apart, ms. */
const MOST_GAP_MS = 1000;
const LEAST_REST_MS = 1000;
/** Frames on each side whose mean decides where speech is least probable. */
const AROUND = 10;

/** Probability of speech of each frame from `startMs` to `endMs`. */
export type SpeechIn = (startMs: number, endMs: number) => Float32Array;

/**
 * Segments of speech → segments for the model: over-long ones are cut where speech is least
 * probable, short neighbours are joined. The result does not depend on when segments become known.
 */
export class Planner {
  /** Joined segments that may still grow. */
  #group: PlannedSegment | undefined;
  /** Where the open segment was cut last. */
  #cut: number | undefined;

  constructor(
    private readonly options: PlanOptions,
    private readonly speech: SpeechIn,
  ) {}

  /**
   * The earliest time of what was not returned yet, ms.
   * @param pendingMs  the same of what has not ended
   */
  neededMs(pendingMs: number): number {
    return Math.min(this.#group?.startMs ?? Infinity, this.#cut ?? pendingMs);
  }

  /**
   * A segment that has not ended. It is cut only where its end, wherever it comes, changes nothing.
   * @param sureMs  a time that its end will not be before
   * @returns       segments whose ends are settled
   */
  grow(startMs: number, sureMs: number): PlannedSegment[] {
    const { maxMs } = this.options;
    return this.#cutWhile(startMs, sureMs, (from) => sureMs - from >= maxMs + this.#leastRest);
  }

  /** What a cut leaves at least: less would be a crumb of silence. */
  get #leastRest(): number {
    return Math.min(LEAST_REST_MS, this.options.maxMs / 4);
  }

  #cutWhile(startMs: number, endMs: number, tooLong: (from: number) => boolean): PlannedSegment[] {
    const settled: PlannedSegment[] = [];
    const { maxMs } = this.options;
    for (let from = this.#cut ?? startMs; tooLong(from); from = this.#cut) {
      this.#cut = this.#leastSpeech(from + maxMs / 2, Math.min(from + maxMs, endMs - this.#leastRest));
      settled.push(...this.#join({ startMs: from, endMs: this.#cut }));
    }
    return settled;
  }

  /** A segment that ended. */
  add({ startMs, endMs }: SpeechSegment): PlannedSegment[] {
    const settled = this.#cutWhile(startMs, endMs, (from) => endMs - from > this.options.maxMs);
    settled.push(...this.#join({ startMs: this.#cut ?? startMs, endMs }));
    this.#cut = undefined;
    return settled;
  }

  /** The recording ends. */
  end(): PlannedSegment[] {
    const last = this.#group;
    this.#group = undefined;
    return last ? [last] : [];
  }

  #join(next: SpeechSegment): PlannedSegment[] {
    const group = this.#group;
    const near = group && next.startMs - group.endMs <= MOST_GAP_MS;
    if (near && next.endMs - group.startMs <= this.options.mergeMs) {
      const parts = [...(group.parts ?? [group]), next];
      this.#group = { startMs: group.startMs, endMs: next.endMs, parts };
      return [];
    }
    this.#group = next;
    return group ? [group] : [];
  }

  #leastSpeech(fromMs: number, toMs: number): number {
    return leastSpeech(this.speech, { startMs: fromMs, endMs: toMs });
  }
}

/**
 * The time within a range at which speech is least probable, by the mean of 210 ms; of equals the
 * last.
 * @returns  ms, after `startMs`
 */
export function leastSpeech(speech: SpeechIn, { startMs, endMs }: SpeechSegment): number {
  const begin = Math.ceil(startMs / FRAME_MS) * FRAME_MS;
  const values = speech(begin, endMs);
  let [best, least] = [Math.max(1, Math.floor((endMs - begin) / FRAME_MS)), Infinity];
  for (let i = 1; i < values.length; i++) {
    let sum = 0;
    const [from, to] = [Math.max(0, i - AROUND), Math.min(values.length, i + AROUND + 1)];
    for (let j = from; j < to; j++) sum += values[j];
    const mean = sum / (to - from);
    if (mean <= least) [best, least] = [i, mean];
  }
  return begin + best * FRAME_MS;
}
