import { DetectedSpeech, type GivenSegment, GivenSpeech } from "../decode/segments/feed.js";
import { jointOf } from "../scripts.js";
import {
  Recording,
  type SegmentDecoder,
  type SpeechFeed,
  type TranscriptSegment,
  silencesOf,
} from "../decode/segments/recording.js";
import {
  type RunClips,
  UNCUT_MS,
  mergeMsOf,
  segmentDecoder,
  transcribeAlone,
} from "../decode/segments/transcribe-recording.js";
import { flatText } from "../decode/subtitles/formats.js";
import type { StageSeconds, Transcriber } from "../decode/transcriber.js";
import type { VoiceActivityDetector, VadStream } from "../decode/vad/detector.js";
import { AudioBar } from "./audio-bar.js";
import { note, print, printPart } from "./output.js";
import type { PartialWork } from "./partial-work.js";
import type { FileTranscript } from "./transcript-files.js";

export interface LongClipOptions {
  /** Default: as the checkpoint says. */
  readonly mergeSeconds?: number | undefined;
  /** Silence that ends a segment, ms. */
  readonly maxEndSilence: number;
  readonly batchTokens: number;
  /** Segments that run together at most. */
  readonly batch: number;
  readonly repetitionPenalty?: number | undefined;
  /** The segments, where the user gave them. */
  readonly given?: readonly GivenSegment[] | undefined;
  /** Keeps what is done. */
  readonly partial?: PartialWork | undefined;
  readonly wordTimes?: boolean | undefined;
  /** Whether the text is printed as it comes. */
  readonly plain: boolean;
  /** Gets the whole transcript. */
  readonly deliver: (transcript: FileTranscript) => Promise<void>;
  /** Gets it once it is printed or written. */
  readonly report: (transcript: FileTranscript) => Promise<void>;
  /** A warning about the whole text. */
  readonly strange: (text: string) => string | undefined;
}

/** A clip of any length, as lines of text and JSON name it. */
export interface LongClipName {
  readonly file: string;
  readonly channel?: number | undefined;
  readonly label: string;
  readonly named: boolean;
}

const LEAST_AGREEMENT = 0.1; // of a segment that the user gave, where it has text

const ends = { loop: "a repeating cycle was cut", length: "the answer was cut" } as const;

/** Transcribes a clip in segments while its samples come, and prints the text as it comes. */
export class LongClip {
  readonly #found: TranscriptSegment[] = [];
  readonly #recording: Recording;
  readonly #bar: AudioBar | undefined;
  #stream: VadStream | undefined;
  #text = "";
  /** Whether a line of stdout was begun. */
  #begun = false;
  #seconds: Record<keyof StageSeconds | "vad", number> = {
    vad: 0,
    frontend: 0,
    encoder: 0,
    adaptor: 0,
    prefill: 0,
    decode: 0,
  };

  private constructor(
    readonly name: LongClipName,
    private readonly transcriber: Transcriber,
    private readonly run: RunClips,
    private readonly options: LongClipOptions,
    private readonly feed: DetectedSpeech | GivenSpeech,
    maxMs: number,
  ) {
    const { mergeSeconds, batchTokens, batch, repetitionPenalty, given, plain, partial } = options;
    if (!plain || !process.stdout.isTTY) this.#bar = new AudioBar(name.label);
    const joinedMs = mergeSeconds === undefined ? mergeMsOf(transcriber.model.config) : mergeSeconds * 1000;
    const mergeMs = given ? 0 : Math.min(maxMs, joinedMs);
    this.#seconds = { ...this.#seconds, ...partial?.seconds, vad: 0 };
    this.#recording = new Recording(name.file, this.#timed(feed), this.#decoder(), {
      mergeMs,
      maxMs: given ? Infinity : maxMs,
      batchTokens,
      batch,
      repetitionPenalty,
      known: (segment) => partial?.known(segment),
      onSegment: (segment) => this.#take(segment),
      onProgress: (seconds) => this.#bar?.update(seconds),
    });
  }

  /** @param maxMs  of a segment */
  static begin(
    name: LongClipName,
    transcriber: Transcriber,
    run: RunClips,
    options: LongClipOptions,
    { detector, maxMs }: { readonly detector?: VoiceActivityDetector | undefined; readonly maxMs: number },
  ): LongClip {
    if (options.given)
      return new LongClip(name, transcriber, run, options, new GivenSpeech(options.given), maxMs);
    const stream = detector!.stream({ name: name.file });
    const feed = new DetectedSpeech(stream, {
      maxEndSilenceMs: options.maxEndSilence,
      maxSegmentMs: UNCUT_MS,
    });
    const clip = new LongClip(name, transcriber, run, options, feed, maxMs);
    clip.#stream = stream;
    return clip;
  }

  /**
   * Seconds of the clip, once they are known.
   * @param declared  whether its header gives them
   * @throws SegmentFileError  a segment passes them
   */
  lasts(seconds: number, declared: boolean): void {
    if (declared && this.feed instanceof GivenSpeech) this.feed.checkEnd(Math.floor(seconds * 1000));
    this.#bar?.lasts(seconds);
  }

  push(samples: Float32Array): Promise<void> {
    return this.#recording.push(samples);
  }

  /**
   * Ends the clip and prints its result.
   * @param heard  warnings about the audio, which have been printed
   */
  async end(heard: readonly string[]): Promise<void> {
    const seconds = await this.#recording.end();
    this.free();
    const { label, named } = this.name;
    const faults = this.#faults();
    for (const text of faults) note(`warning: ${label}: ${text}`);
    const transcript = this.#transcript(seconds, [...heard, ...faults]);
    await this.options.deliver(transcript);
    if (this.options.plain) {
      this.#begun = false;
      print(this.#text === "" && named ? `${label}:` : "");
      for (const { start, end, text } of this.#found.flatMap(({ words = [] }) => words))
        print(`${start.toFixed(3)}\t${end.toFixed(3)}\t${text}`);
    }
    if (this.#text === "") note(`${label}: no speech was found`);
    for (const { start, end, finish, dropped } of this.#found) {
      const at = `${label}: ${start} to ${end} s: `;
      if (finish === "loop" || finish === "length") note(at + ends[finish]);
      if (dropped !== undefined) note(`${at}a text that the CTC head did not hear was left out: ${dropped}`);
    }
    await this.options.report(transcript);
    await this.options.partial?.remove();
  }

  /** What is wrong with the text. */
  #faults(): string[] {
    const strange = this.options.strange(this.#text);
    const untimed = this.#found
      .filter(({ wordsFailure }) => wordsFailure !== undefined)
      .map(({ start, end, wordsFailure }) => `no times of words from ${start} to ${end} s: ${wordsFailure}`);
    const unheard = this.options.given ? this.#found.filter(isUncertain) : [];
    const doubted = unheard.map(
      ({ start, end }) => `${start} to ${end} s: the CTC head hears another text; check the segment's times`,
    );
    return [...(strange === undefined ? [] : [strange]), ...untimed, ...doubted];
  }

  #transcript(seconds: number, warnings: readonly string[]): FileTranscript {
    const { file, channel } = this.name;
    const segments = this.#found;
    const timed = segments.some(({ words }) => words);
    const object = {
      file,
      channel,
      text: this.#text,
      tokenIds: segments.flatMap(({ tokenIds }) => tokenIds),
      audioSeconds: seconds,
      seconds: this.#seconds,
      finish: segments.find(({ finish }) => finish in ends)?.finish ?? "stop",
      ...(timed && { words: segments.flatMap(({ words = [] }) => words) }),
      segments,
      silences: silencesOf(segments, seconds),
      ...(warnings.length > 0 && { warning: warnings.join("; "), warnings }),
    };
    return { file, channel, segments, object };
  }

  /** Ends the line that was begun, before an error. What is done stays for --resume. */
  fail(): void {
    this.free();
    this.options.partial?.close();
    if (this.#begun) print("");
  }

  free(): void {
    this.#bar?.stop();
    this.#stream?.free();
    this.#stream = undefined;
  }

  #take(segment: TranscriptSegment): void {
    const { wordTimes, partial } = this.options;
    const kept = wordTimes ? segment : { ...segment, words: undefined, wordsFailure: undefined };
    this.#found.push(kept);
    partial?.add(kept, this.#seconds);
    if (segment.text === "") return;
    const joint = jointOf(this.#text, segment.text);
    const begin = this.#text === "" && this.name.named ? `${this.name.label}: ` : "";
    if (this.options.plain) printPart(begin + joint + flatText(segment.text)); // a clip is a line
    this.#begun = this.options.plain;
    this.#text += joint + segment.text;
  }

  /** The same decoder with its seconds counted. */
  #decoder(): SegmentDecoder {
    const counted: RunClips = async (clips, options) => {
      const results = await this.run(clips, options);
      for (const stage of ["encoder", "adaptor", "prefill", "decode"] as const)
        this.#seconds[stage] += results[0].seconds[stage];
      return results;
    };
    const decoder = segmentDecoder(this.transcriber, (clips, options) =>
      transcribeAlone(clips, (some) => counted(some, options)),
    );
    return {
      ...decoder,
      prepare: (samples, name) => {
        const clip = decoder.prepare(samples, name);
        this.#seconds.frontend += clip.frontendSeconds;
        return clip;
      },
    };
  }

  /** The same feed with its seconds counted. */
  #timed(feed: SpeechFeed): SpeechFeed {
    const timed = async <T>(body: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      const result = await body();
      this.#seconds.vad += (performance.now() - start) / 1000;
      return result;
    };
    return {
      push: (samples) => timed(() => feed.push(samples)),
      end: () => timed(() => feed.end()),
      get pendingMs() {
        return feed.pendingMs;
      },
      get open() {
        return feed.open;
      },
      speech: (from, to) => feed.speech(from, to),
      forget: (before) => feed.forget(before),
    };
  }
}

/** Whether the CTC head hears next to nothing of a segment's text. */
function isUncertain({ text, agreement = 1 }: TranscriptSegment): boolean {
  return text !== "" && agreement < LEAST_AGREEMENT;
}
