import { concatenated } from "../../frontend/audio.js";
import { defaultMaxNewTokens } from "../answer-limit.js";
import { AudioWindow } from "../segments/audio-window.js";
import type { SilenceStream } from "../segments/feed.js";
import { withoutSilenceMarks } from "../segments/silence-marks.js";
import type { TranscriptSegment } from "../segments/recording.js";
import type { PromptOptions } from "../../tokenizer/prompt.js";
import { QueueFullError } from "../engine/errors.js";
import type { SubmitOptions } from "../engine/options.js";
import type { Transcription } from "../transcriber.js";
import { Segmenter, type SpeechSegment } from "../vad/segmenter.js";
import { Agreement } from "./agreement.js";
import type { LiveEvent, LiveOptions, LiveParts } from "./options.js";

const PIECE_MS = 60; // that voice activity gets at once, at least
const LEAST_MS = 25; // a frame of the front-end
const SPARE_TOKENS = 32; // of an answer behind its prefix
const STEP_MS = 640;
/**
 * So many decodings in a row agree on the first words of a segment, over so much audio: a short
 * beginning is often heard as another sentence, and what is stable stays.
 */
const FIRST = 3;
const FIRST_MS = 1280;

/** A segment that has not ended. */
class Open {
  readonly abort = new AbortController();
  /** Whether it is being decoded. */
  busy = false;

  constructor(
    readonly startMs: number,
    /** When it is decoded next: ms of the session's audio. */
    public dueMs: number,
    readonly agreement: Agreement,
  ) {}
}

/** Voice activity since the begin, or since a commit. */
interface Ear {
  readonly stream: SilenceStream;
  readonly segmenter: Segmenter;
  /** Where its times begin, ms of the session's audio. */
  readonly base: number;
}

/**
 * Text of speech while it comes. A segment that ended has its final text. The open one is decoded
 * again and again from its begin, behind the words on which decodings in a row agreed. Its audio
 * passes the encoder anew each time: the encoder's attention sees the whole clip. A decoding that is
 * not done when the next one is due delays it.
 */
export class LiveSession {
  readonly #audio = new AudioWindow();
  #waiting: Float32Array[] = [];
  #ear: Ear;
  #open: Open | undefined;
  #heardMs = 0; // audio that voice activity has had
  #doneMs = 0; // audio that no open segment begins before
  /** Samples and commands run in their order. */
  #last: Promise<void> = Promise.resolve();
  /** Final texts come in their order. */
  #finals: Promise<void> = Promise.resolve();
  readonly #partials = new Set<Promise<void>>();
  readonly #owner = {};
  readonly #prompt: PromptOptions;
  readonly #closing = new AbortController();

  /**
   * @param listener  gets the events
   * @param failed    gets an error, which ends the session
   * @throws VadError  an option out of range
   */
  constructor(
    private readonly parts: LiveParts,
    private readonly options: LiveOptions,
    private readonly listener: (event: LiveEvent) => void,
    private readonly failed: (error: unknown) => void,
  ) {
    this.#prompt = promptOf(options);
    this.#ear = this.#listen(0);
  }

  /**
   * Takes the next samples; events follow.
   * @param samples  [n] f32, mono, range [-1, 1]
   */
  push(samples: Float32Array): void {
    this.#next(() => {
      this.#audio.push(samples);
      this.#waiting.push(samples);
      return this.#ms(this.#audio.length) - this.#heardMs < PIECE_MS ? undefined : this.#hear();
    });
  }

  /** Ends the open segment; a "committed" event follows its final text. */
  commit(): void {
    this.#next(async () => {
      await this.#flush();
      const seconds = this.#audio.length / this.parts.sampleRate;
      this.#finals = this.#finals.then(() => this.#report({ type: "committed", seconds }));
    });
  }

  /** Drops the open segment and its audio. */
  clear(): void {
    this.#next(() => {
      this.#open?.abort.abort();
      this.#open = undefined;
      this.#restart();
    });
  }

  /** Ends the session and frees its GPU memory; no event follows. */
  close(): void {
    if (this.#closed) return;
    this.#closing.abort();
    this.#open?.abort.abort();
    this.#last = this.#last.then(() => this.#ear.stream.free());
  }

  /** Settles when all that was pushed is heard and decoded. */
  async idle(): Promise<void> {
    await this.#last;
    await Promise.all([this.#finals, ...this.#partials]);
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  #ms(samples: number): number {
    return Math.floor((1000 * samples) / this.parts.sampleRate);
  }

  #slice(fromMs: number, toMs: number): Float32Array {
    const at = (ms: number): number => Math.round((ms * this.parts.sampleRate) / 1000);
    return this.#audio.slice(at(fromMs), at(toMs));
  }

  #report(event: LiveEvent): void {
    if (!this.#closed) this.listener(event);
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.close();
    this.failed(error);
  }

  #next(body: () => Promise<void> | void): void {
    this.#last = this.#last
      .then(() => (this.#closed ? undefined : body()))
      .catch((error: unknown) => this.#fail(error));
  }

  #listen(base: number): Ear {
    const { maxEndSilenceMs = 800, maxSegmentMs = 15_000 } = this.options;
    const segmenter = new Segmenter({ maxEndSilenceMs, maxSegmentMs });
    return { stream: this.parts.openStream(), segmenter, base };
  }

  /** Voice activity begins anew behind the audio so far. */
  #restart(): void {
    this.#ear.stream.free();
    this.#waiting = [];
    this.#heardMs = this.#doneMs = this.#ms(this.#audio.length);
    this.#ear = this.#listen(this.#heardMs);
  }

  /** Hears what waits, ends the open segment, and begins anew. */
  async #flush(): Promise<void> {
    if (this.options.endpoints === false) this.#cut(this.#ms(this.#audio.length));
    else {
      const { stream, segmenter } = this.#ear;
      const samples = this.#take();
      const { silence } = await stream.push(samples, true);
      this.#settle([...segmenter.push(silence), ...segmenter.end()]);
    }
    this.#restart();
  }

  #take(): Float32Array {
    const samples = concatenated(this.#waiting);
    this.#waiting = [];
    this.#heardMs = this.#ms(this.#audio.length);
    return samples;
  }

  async #hear(): Promise<void> {
    const samples = this.#take();
    if (this.options.endpoints === false) this.#hearAll();
    else {
      const { stream, segmenter, base } = this.#ear;
      const { silence } = await stream.push(samples);
      this.#settle(segmenter.push(silence));
      if (segmenter.open) this.#begin(base + segmenter.open.startMs);
      this.#doneMs = base + segmenter.pendingMs;
    }
    this.#audio.drop(Math.floor(((this.#open?.startMs ?? this.#doneMs) * this.parts.sampleRate) / 1000));
    if (this.#open) this.#decode(this.#open);
  }

  /** All audio is speech: a segment ends by its length. */
  #hearAll(): void {
    const { maxSegmentMs = 15_000 } = this.options;
    this.#begin(this.#doneMs);
    while (this.#heardMs - this.#doneMs >= maxSegmentMs) {
      this.#cut(this.#doneMs + maxSegmentMs);
      this.#begin(this.#doneMs);
    }
  }

  #cut(endMs: number): void {
    if (this.#open && endMs > this.#open.startMs) this.#end({ startMs: this.#open.startMs, endMs });
    this.#doneMs = endMs;
  }

  #begin(startMs: number): void {
    if (this.#open) return;
    const { firstMs = 960, stepMs = STEP_MS } = this.options;
    const agreement = new Agreement(this.parts.decode, Math.max(FIRST, 1 + Math.ceil(FIRST_MS / stepMs)));
    this.#open = new Open(startMs, startMs + firstMs, agreement);
    this.#report({ type: "started", start: startMs / 1000 });
  }

  /** Ends segments that voice activity found. */
  #settle(segments: readonly SpeechSegment[]): void {
    const { base } = this.#ear;
    for (const { startMs, endMs } of segments) {
      this.#begin(base + startMs);
      this.#end({ startMs: base + startMs, endMs: Math.min(base + endMs, this.#ms(this.#audio.length)) });
    }
  }

  #end({ startMs, endMs }: SpeechSegment): void {
    const open = this.#open!;
    this.#open = undefined;
    open.abort.abort();
    const [start, end] = [startMs / 1000, endMs / 1000];
    this.#report({ type: "stopped", start, end });
    const text = this.#final(open, startMs, endMs);
    text.catch(() => undefined); // met at its turn
    this.#finals = this.#finals
      .then(async () => this.#report({ type: "final", segment: { start, end, ...(await text) } }))
      .catch((error: unknown) => this.#fail(error));
  }

  async #final(
    { agreement }: Open,
    startMs: number,
    endMs: number,
  ): Promise<Omit<TranscriptSegment, "start" | "end">> {
    const samples = this.#slice(startMs, endMs);
    if (samples.length < (LEAST_MS * this.parts.sampleRate) / 1000)
      return { text: agreement.text.stable, tokenIds: agreement.prefix, finish: "stop" };
    const { wordTimes = true, freeFinal = false } = this.options;
    const { signal } = this.#closing;
    const answer = await this.#run(
      samples,
      freeFinal ? [] : agreement.prefix,
      { startMs, endMs },
      { signal, wordTimes, waitForRoom: true },
    );
    const { words, wordsFailure, agreement: agreed, tokenIds, finish } = answer;
    const text = withoutSilenceMarks(answer.text);
    const at = (seconds: number): number => Math.round(1000 * seconds + startMs) / 1000;
    const final = freeFinal ? text : agreement.final(text);
    if (final !== text) return { text: final, tokenIds: agreement.prefix, finish };
    const moved = words?.map((word) => ({ ...word, start: at(word.start), end: at(word.end) }));
    return {
      text,
      tokenIds,
      finish,
      ...(moved && { words: moved }),
      ...(wordsFailure !== undefined && { wordsFailure }),
      ...(agreed !== undefined && { agreement: agreed }),
    };
  }

  /** Decodes the open segment where that is due. */
  #decode(open: Open): void {
    const endMs = this.#heardMs;
    if (this.options.partials === false || open.busy || endMs < open.dueMs) return;
    open.busy = true;
    open.dueMs = endMs + (this.options.stepMs ?? STEP_MS);
    const { agreement, startMs, abort } = open;
    const samples = this.#slice(startMs, endMs);
    const partial = this.#run(
      samples,
      agreement.prefix,
      { startMs, endMs },
      { signal: abort.signal, wordTimes: false },
    )
      .then(({ tokenIds }) => {
        if (this.#open !== open) return;
        agreement.take(tokenIds);
        this.#report({ type: "partial", start: startMs / 1000, ...agreement.text });
      })
      .catch((error: unknown) => {
        if (abort.signal.aborted || error instanceof QueueFullError) return; // the next one may find room
        this.#fail(error);
      })
      .finally(() => {
        open.busy = false;
        this.#partials.delete(partial);
      });
    this.#partials.add(partial);
  }

  async #run(
    samples: Float32Array,
    prefix: readonly number[],
    span: SpeechSegment,
    options: Pick<SubmitOptions, "signal" | "wordTimes" | "waitForRoom">,
  ): Promise<Transcription> {
    const { name = "live" } = this.options;
    const clip = this.parts.prepare(samples, `${name} (${span.startMs / 1000} to ${span.endMs / 1000} s)`);
    return this.parts.run(clip, {
      ...this.#prompt,
      ...options,
      prefix,
      priority: "live",
      owner: this.#owner,
      maxNewTokens: Math.max(defaultMaxNewTokens(clip), prefix.length + SPARE_TOKENS),
    });
  }
}

/** What is left of the options for the prompt. */
function promptOf(options: LiveOptions): PromptOptions {
  const { language, hotwords, context, itn, prompt, emptyThought } = options;
  const all = { language, hotwords, context, itn, prompt, emptyThought };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
