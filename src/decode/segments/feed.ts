import { FRAME_MS, Segmenter, type SegmenterOptions, type SpeechSegment } from "../vad/segmenter.js";
import { ArgumentError, expectArgument } from "../../arguments.js";
import { concatenated } from "../../frontend/audio.js";
import type { SpeechFeed } from "./recording.js";

/** Probabilities of silence of audio that comes in pieces, as VadStream gives them. */
export interface SilenceStream {
  /** The frames that these samples complete, [frames] f32. `end`: no samples follow. */
  push(samples: Float32Array, end?: boolean): Promise<{ readonly silence: Float32Array }>;
  /** Gives its memory back. */
  free(): void;
}

const MOST_END_SILENCE_MS = 2000; // of the segmenter's schedule
const PER_MS = 16; // samples
const PIECE = 10_000 * PER_MS; // samples that the net gets at once, at least

/** Segments that a net finds. */
export class DetectedSpeech implements SpeechFeed {
  readonly #segmenter: Segmenter;
  /** Silence that an end may be put back by, ms. */
  readonly #endSilenceMs: number;
  /** Samples that the net has not seen. */
  #waiting: Float32Array[] = [];
  #count = 0;
  #samples = 0;
  /** Probabilities of silence from frame `#first` on, as they came. */
  readonly #silence: Float32Array[] = [];
  #first = 0;

  /** @throws VadError  an option out of range */
  constructor(
    private readonly stream: SilenceStream,
    options: SegmenterOptions = {},
  ) {
    this.#segmenter = new Segmenter(options);
    this.#endSilenceMs = options.maxEndSilenceMs ?? MOST_END_SILENCE_MS;
  }

  get pendingMs(): number {
    return this.#segmenter.pendingMs;
  }

  get open(): SpeechSegment | undefined {
    const open = this.#segmenter.open;
    return open && { startMs: open.startMs, endMs: open.endMs - this.#endSilenceMs };
  }

  async push(samples: Float32Array): Promise<SpeechSegment[]> {
    this.#waiting.push(samples);
    this.#count += samples.length;
    this.#samples += samples.length;
    return this.#count < PIECE ? [] : this.#detect(false);
  }

  /** The segments that end with the audio. */
  async end(): Promise<SpeechSegment[]> {
    const ended = await this.#detect(true);
    return [...ended, ...this.#segmenter.end(this.#samples)];
  }

  async #detect(end: boolean): Promise<SpeechSegment[]> {
    const samples = concatenated(this.#waiting);
    [this.#waiting, this.#count] = [[], 0];
    const { silence } = await this.stream.push(samples, end);
    this.#silence.push(silence);
    return this.#segmenter.push(silence);
  }

  speech(startMs: number, endMs: number): Float32Array {
    const from = Math.max(0, Math.floor(startMs / FRAME_MS) - this.#first);
    const to = Math.max(from, Math.floor(endMs / FRAME_MS) - this.#first);
    let at = 0;
    const parts = this.#silence.map((piece) => {
      const part = piece.subarray(Math.max(0, from - at), Math.max(0, to - at));
      at += piece.length;
      return part;
    });
    return concatenated(parts).map((value) => 1 - value);
  }

  forget(beforeMs: number): void {
    const frame = Math.floor(beforeMs / FRAME_MS);
    while (this.#silence.length > 0 && this.#first + this.#silence[0].length <= frame)
      this.#first += this.#silence.shift()!.length;
  }
}

/** A segment that the user gave. */
export interface GivenSegment extends SpeechSegment {
  /** Refuses it because the audio ends at `audioMs` of the recording. Default: an ArgumentError. */
  readonly refuse?: ((audioMs: number) => never) | undefined;
}

const SPARE_MS = 100; // that a segment may pass the audio's end: times are rounded

/**
 * Segments that the user gave, in the place of a net's: see parseSegments.
 * @param segments  in the order of their times and without overlaps
 */
export class GivenSpeech implements SpeechFeed {
  #samples = 0;
  #next = 0;

  /** @throws ArgumentError  a segment without its times, one that ends before it begins, or begins before its neighbour ends */
  constructor(private readonly segments: readonly GivenSegment[]) {
    for (const [i, segment] of segments.entries()) {
      const { startMs, endMs } = segment;
      for (const [field, value] of Object.entries({ startMs, endMs }))
        expectArgument(`GivenSpeech: segments[${i}].${field}`, typeof value === "number", "ms", value);
      const before = i === 0 ? 0 : segments[i - 1].endMs;
      const got = `${startMs} to ${endMs} ms`;
      if (startMs >= before && endMs > startMs) continue;
      throw new ArgumentError(
        `GivenSpeech: segments[${i}]: expected a begin from ${before} ms on and an end behind it, got ${got}`,
      );
    }
  }

  get pendingMs(): number {
    return this.segments[this.#next]?.startMs ?? Infinity;
  }

  /** Refuses segments that pass the audio's end. @throws as `refuse` of the segment */
  checkEnd(audioMs: number): void {
    for (const [i, { startMs, endMs, refuse }] of this.segments.entries()) {
      if (startMs < audioMs && endMs <= audioMs + SPARE_MS) continue;
      refuse?.(audioMs);
      throw new ArgumentError(
        `GivenSpeech: segments[${i}]: expected an end within the audio's ${audioMs} ms, got ${endMs}`,
      );
    }
  }

  push(samples: Float32Array): Promise<SpeechSegment[]> {
    this.#samples += samples.length;
    const from = this.#next;
    while (this.#next < this.segments.length && this.segments[this.#next].endMs * PER_MS <= this.#samples)
      this.#next++;
    return Promise.resolve(this.segments.slice(from, this.#next));
  }

  /** @throws  a segment passes the audio's end */
  end(): Promise<SpeechSegment[]> {
    const audioMs = Math.floor(this.#samples / PER_MS);
    this.checkEnd(audioMs);
    const rest = this.segments.slice(this.#next);
    return Promise.resolve(rest.map(({ startMs }) => ({ startMs, endMs: audioMs })));
  }

  speech(): Float32Array {
    return new Float32Array(0);
  }

  forget(): void {
    // holds no probabilities
  }
}
