import type { SpeechFeed, TranscriptSegment } from "../../decode/segments/recording.js";
import type { SpeechSegment } from "../../decode/vad/segmenter.js";
import type { Heard, Item, Piece } from "../item.js";
import { Enough, type ReadOptions, streamItem } from "./read.js";
import type { ItemWork } from "./transcribe.js";

/** Audio before a part that the net hears first, s; twice as much where it has no long silence. */
const CONTEXT_SECONDS = 60;
/** Until the net's memory is that of the whole file, ms: 4 layers of 19 frames, and 2 frames around one. */
const WARM_MS = 1000;
/** Silence beyond that which ends a segment, after which nothing depends on what was before, ms. */
const SURE_MS = 1500;
/** Segments are not joined over a longer silence, ms: see the planner of decode. */
const APART_MS = 1100;

/** Thrown where the audio before a part does not say how the whole file is cut. */
class Unsure extends Error {}

/**
 * A part of a long file. Its segments are those of the whole file that start in it: the net hears
 * the audio before it from a long silence on, behind which nothing depends on what was before.
 */
export class PieceWork {
  constructor(
    private readonly item: Item,
    private readonly piece: Piece,
    private readonly reading: ReadOptions,
    private readonly maxEndSilenceMs: number,
    private readonly work: ItemWork,
  ) {}

  /** @throws as ItemWork.heard */
  async heard(): Promise<Heard> {
    for (let context = CONTEXT_SECONDS; ; context *= 2) {
      const beginMs = Math.max(0, Math.floor((this.piece.from - context) * 100) * 10); // a whole frame
      try {
        return await this.#heardFrom(beginMs);
      } catch (error) {
        if (!(error instanceof Unsure)) throw error;
      }
    }
  }

  async #heardFrom(beginMs: number): Promise<Heard> {
    const { rate } = this.reading;
    const [fromMs, toMs] = [this.piece.from * 1000 - beginMs, (this.piece.to ?? Infinity) * 1000 - beginMs];
    const skipped = Math.round((beginMs * rate) / 1000);
    const found: TranscriptSegment[] = [];
    const stream = this.work.vadStream();
    try {
      const silence = this.maxEndSilenceMs + SURE_MS;
      const feed = new Watched(this.work.speechOf(stream), { silence, fromMs, isSure: beginMs === 0 });
      let passed = false;
      const isOwn = (startMs: number): boolean => startMs >= fromMs && startMs < toMs;
      const recording = this.work.recording(
        feed,
        (segment) => {
          if (isOwn(Math.round(segment.start * 1000))) found.push(segment);
        },
        ({ startMs, endMs }) => {
          if (startMs >= fromMs && !feed.isSure) throw new Unsure();
          if (startMs >= toMs) passed = true;
          if (isOwn(startMs)) return undefined;
          return { start: startMs / 1000, end: endMs / 1000, text: "", tokenIds: [], finish: "stop" };
        },
      );
      let at = 0;
      const streamed = await streamItem(this.item, this.reading, async (samples) => {
        const rest = samples.subarray(Math.min(samples.length, Math.max(0, skipped - at)));
        at += samples.length;
        if (rest.length > 0) await recording.push(rest.slice());
        if (passed || feed.isBehind(toMs)) throw new Enough();
      });
      await recording.end();
      if (!feed.isSure) throw new Unsure();
      const seconds = Math.max(0, Math.min(at / rate, this.piece.to ?? Infinity) - this.piece.from);
      const warnings = [streamed?.damage, streamed?.warning].filter((text) => text !== undefined);
      return this.work.result(found, seconds, warnings, beginMs / 1000);
    } finally {
      stream.free();
    }
  }
}

/** A feed, and whether its segments from a time on are those of the whole file. */
class Watched implements SpeechFeed {
  #lastMs = WARM_MS;
  #sure: boolean;

  constructor(
    private readonly feed: SpeechFeed,
    private readonly need: { readonly silence: number; readonly fromMs: number; readonly isSure: boolean },
  ) {
    this.#sure = need.isSure;
  }

  /** Whether a long silence began before the part. */
  get isSure(): boolean {
    return this.#sure || this.#isSilent(this.feed.pendingMs);
  }

  /** Whether no segment that begins before `ms` can come or grow. */
  isBehind(ms: number): boolean {
    return this.feed.pendingMs >= Math.max(ms, this.#lastMs + APART_MS);
  }

  get pendingMs(): number {
    return this.feed.pendingMs;
  }

  get open(): SpeechSegment | undefined {
    return this.feed.open;
  }

  async push(samples: Float32Array): Promise<readonly SpeechSegment[]> {
    return this.#see(await this.feed.push(samples));
  }

  async end(): Promise<readonly SpeechSegment[]> {
    return this.#see(await this.feed.end());
  }

  speech = (fromMs: number, toMs: number): Float32Array => this.feed.speech(fromMs, toMs);

  forget(beforeMs: number): void {
    this.feed.forget(beforeMs);
  }

  #see(segments: readonly SpeechSegment[]): readonly SpeechSegment[] {
    for (const { startMs, endMs } of segments) {
      this.#sure ||= this.#isSilent(startMs);
      this.#lastMs = Math.max(this.#lastMs, endMs);
    }
    this.#sure ||= this.#isSilent(this.feed.pendingMs);
    return segments;
  }

  #isSilent(untilMs: number): boolean {
    return this.#lastMs <= this.need.fromMs && untilMs - this.#lastMs >= this.need.silence;
  }
}
