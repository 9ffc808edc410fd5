import { AudioWindow } from "../../decode/segments/audio-window.js";
import { withoutSilenceMarks } from "../../decode/segments/join.js";
import { RECORDING_DEFAULTS, longestSegment } from "../../decode/segments/transcribe-recording.js";
import type { Transcription } from "../../decode/transcriber.js";
import type { VadStream } from "../../decode/vad/detector.js";
import { Segmenter, type SpeechSegment } from "../../decode/vad/segmenter.js";
import { concatenated } from "../../frontend/audio.js";
import type { LiveEvent, LiveOptions } from "./engine.js";
import { EngineError } from "./errors.js";
import { type Models, type RunOptions, promptOf } from "./transcribe.js";

/** What hears of a live session. */
export interface LiveSink {
  readonly event: (event: Exclude<LiveEvent, { type: "failed" }>) => void;
  /** The session has ended. */
  readonly fail: (error: unknown) => void;
}

const perMs = 16; // samples
const piece = 200 * perMs; // samples that the net gets at once, at least
const leastMs = 25; // of a segment
const longestBuffer = 600_000; // ms without a commit, where the engine finds no endpoints

/**
 * Audio that is transcribed while it comes: each segment of speech has its final text when it ends.
 * Calls take effect in their order.
 */
export class LiveTranscript {
  readonly #audio = new AudioWindow();
  readonly #ended = new AbortController();
  readonly #maxMs: number;
  #last: Promise<void> = Promise.resolve();
  #waiting: Float32Array[] = [];
  #count = 0;
  /** Where the newest commit or clear was, samples. */
  #base = 0;
  #speech: Speech | undefined;

  constructor(
    private readonly models: Models,
    private readonly options: LiveOptions,
    private readonly sink: LiveSink,
  ) {
    this.#maxMs = longestSegment(models.transcriber.maxSeconds(promptOf(options)));
  }

  push(samples: Float32Array): void {
    this.#then(async () => {
      this.#waiting.push(samples);
      this.#count += samples.length;
      if (this.#count >= piece) await this.#hear(false);
      this.sink.event({ type: "heard", seconds: (this.#audio.length + this.#count) / 16_000 });
    });
  }

  commit(): void {
    this.#then(async () => {
      await this.#hear(true);
      this.#begin();
      this.sink.event({ type: "committed", seconds: this.#audio.length / 16_000 });
    });
  }

  clear(): void {
    this.#then(() => {
      this.#take();
      this.#begin();
      return Promise.resolve();
    });
  }

  close(): void {
    this.#ended.abort();
    void this.#last.finally(() => this.#speech?.free());
  }

  #then(body: () => Promise<void>): void {
    this.#last = this.#last.then(async () => {
      if (this.#ended.signal.aborted) return;
      try {
        await body();
      } catch (error) {
        const closed = this.#ended.signal.aborted;
        this.#ended.abort();
        this.#speech?.free();
        this.#speech = undefined;
        if (!closed) this.sink.fail(error);
      }
    });
  }

  /** Moves what waits into the window. */
  #take(): Float32Array {
    const samples = concatenated(this.#waiting);
    [this.#waiting, this.#count] = [[], 0];
    this.#audio.push(samples);
    return samples;
  }

  /** Audio from here on is another buffer. */
  #begin(): void {
    this.#base = this.#audio.length;
    this.#audio.drop(this.#base);
    this.#speech?.free();
    this.#speech = undefined;
  }

  async #hear(end: boolean): Promise<void> {
    const samples = this.#take();
    if (!this.options.endpoints) {
      const ms = (this.#audio.length - this.#base) / perMs;
      if (ms > longestBuffer)
        throw new EngineError({
          kind: "long",
          message: `expected a commit within ${longestBuffer / 1000} s of audio, got none`,
        });
      if (end) await this.#finish(this.#cuts(ms));
      return;
    }
    this.#speech ??= new Speech(
      this.models.detector.stream({ signal: this.#ended.signal }),
      this.options,
      this.#maxMs,
    );
    const speech = this.#speech;
    const found = await speech.push(samples, end, this.#audio.length - this.#base);
    const segments = found.filter(({ startMs, endMs }) => endMs - startMs >= leastMs);
    const base = this.#base / perMs;
    for (const segment of segments) {
      this.#announce(speech, segment.startMs + base);
      speech.announced = false;
      this.sink.event({
        type: "stopped",
        start: (segment.startMs + base) / 1000,
        end: (segment.endMs + base) / 1000,
      });
    }
    await this.#finish(segments);
    if (speech.openMs !== undefined) this.#announce(speech, speech.openMs + base);
    this.#audio.drop(this.#base + speech.pendingMs * perMs);
  }

  #announce(speech: Speech, startMs: number): void {
    if (speech.announced) return;
    speech.announced = true;
    this.sink.event({ type: "started", start: startMs / 1000 });
  }

  /** A buffer in as few equal parts as fit the model. */
  #cuts(ms: number): SpeechSegment[] {
    if (ms < leastMs) return [];
    const count = Math.ceil(ms / this.#maxMs);
    return Array.from({ length: count }, (_, i) => ({
      startMs: (ms * i) / count,
      endMs: (ms * (i + 1)) / count,
    }));
  }

  /** Transcribes segments together; their final texts come in order. */
  async #finish(segments: readonly SpeechSegment[]): Promise<void> {
    const { transcriber, run } = this.models;
    const wish: RunOptions = {
      ...promptOf(this.options),
      signal: this.#ended.signal,
      words: true,
      owner: this,
      live: true,
    };
    const texts = segments.map(async ({ startMs, endMs }) => {
      const [from, to] = [startMs, endMs].map((ms) =>
        Math.min(this.#audio.length, this.#base + Math.round(ms * perMs)),
      );
      const channels = [this.#audio.slice(from, to)];
      const clip = transcriber.prepare({ channels, sampleRate: transcriber.sampleRate }, "live audio");
      return { start: from / 16_000, end: to / 16_000, ...(await run(clip, wish)) };
    });
    for (const answer of await Promise.all(texts)) this.#report(answer);
  }

  #report({
    start,
    end,
    tokenIds,
    finish,
    agreement,
    ...answer
  }: Transcription & { start: number; end: number }): void {
    const text = withoutSilenceMarks(answer.text);
    const at = (seconds: number): number => Math.round((seconds + start) * 1000) / 1000;
    const words = this.options.words
      ? answer.words?.map((word) => ({ ...word, start: at(word.start), end: at(word.end) }))
      : undefined;
    this.sink.event({
      type: "final",
      segment: {
        start,
        end,
        text,
        tokenIds,
        finish,
        ...(words && { words }),
        ...(agreement !== undefined && { agreement }),
      },
    });
  }
}

/** Where there is speech in one buffer. */
class Speech {
  readonly #segmenter: Segmenter;
  announced = false;

  constructor(
    private readonly stream: VadStream,
    { maxEndSilenceMs = RECORDING_DEFAULTS.maxEndSilenceMs }: LiveOptions,
    maxSegmentMs: number,
  ) {
    this.#segmenter = new Segmenter({ maxEndSilenceMs, maxSegmentMs });
  }

  /** The begin of the segment that has not ended, ms. */
  get openMs(): number | undefined {
    return this.#segmenter.open?.startMs;
  }

  get pendingMs(): number {
    return this.#segmenter.pendingMs;
  }

  /** @param length  of the buffer, samples */
  async push(samples: Float32Array, end: boolean, length: number): Promise<SpeechSegment[]> {
    const { silence } = await this.stream.push(samples, end);
    const ended = this.#segmenter.push(silence);
    if (end) ended.push(...this.#segmenter.end(length));
    return ended;
  }

  free(): void {
    this.stream.free();
  }
}
