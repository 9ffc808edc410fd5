import { readFile } from "node:fs/promises";
import { DetectedSpeech, GivenSpeech } from "../decode/segments/feed.js";
import { jointOf } from "../decode/segments/join.js";
import {
  Recording,
  type SegmentDecoder,
  type SpeechFeed,
  type TranscriptSegment,
  silencesOf,
} from "../decode/segments/recording.js";
import { baseName, parseSegments } from "../decode/segments/segment-file.js";
import {
  type RunClips,
  UNCUT_MS,
  longestSegment,
  mergeMsOf,
  segmentDecoder,
} from "../decode/segments/transcribe-recording.js";
import type { StageSeconds, Transcriber } from "../decode/transcriber.js";
import type { VoiceActivityDetector, VadStream } from "../decode/vad/detector.js";
import { note, print, printPart, status, terminalBar } from "./output.js";
import type { FileTranscript } from "./transcript-files.js";

/** Longest clip that is transcribed whole, s. */
export const WHOLE_SECONDS = 60;

export interface LongClipOptions {
  /** Default: as the checkpoint says. */
  readonly mergeSeconds?: number | undefined;
  /** Silence that ends a segment, ms. */
  readonly maxEndSilence: number;
  readonly batchTokens: number;
  /** Segments that run together at most. */
  readonly batch: number;
  /** A file with the segments. */
  readonly segments?: string | undefined;
  /** Whether the text is printed as it comes. */
  readonly plain: boolean;
  /** Gets the whole transcript. */
  readonly deliver: (transcript: FileTranscript) => Promise<void>;
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

/** Transcribes a clip in segments while its samples come, and prints the text as it comes. */
export class LongClip {
  readonly #found: TranscriptSegment[] = [];
  readonly #recording: Recording;
  readonly #bar: ProgressBar | undefined;
  #stream: VadStream | undefined;
  #text = "";
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
    { feed, maxMs }: { readonly feed: SpeechFeed; readonly maxMs: number },
  ) {
    const { mergeSeconds, batchTokens, batch, segments, plain } = options;
    if (!plain || !process.stdout.isTTY) this.#bar = new ProgressBar(name.label);
    const joinedMs = mergeSeconds === undefined ? mergeMsOf(transcriber.model.config) : mergeSeconds * 1000;
    const mergeMs = segments === undefined ? Math.min(maxMs, joinedMs) : 0;
    this.#recording = new Recording(name.file, this.#timed(feed), this.#decoder(), {
      mergeMs,
      maxMs: segments === undefined ? maxMs : Infinity,
      batchTokens,
      batch,
      onSegment: (segment) => this.#take(segment),
      onProgress: (seconds) => this.#bar?.update(seconds),
    });
  }

  /**
   * @param maxSeconds  of audio that fits the model
   * @throws SegmentFileError  see parseSegments
   */
  static async begin(
    name: LongClipName,
    transcriber: Transcriber,
    run: RunClips,
    options: LongClipOptions,
    { detector, maxSeconds }: { readonly detector?: VoiceActivityDetector; readonly maxSeconds: number },
  ): Promise<LongClip> {
    const longest = Math.floor(maxSeconds * 100) * 10;
    const { segments } = options;
    if (segments !== undefined) {
      const given = parseSegments(await readFile(segments, "utf8"), segments, baseName(name.file), longest);
      return new LongClip(name, transcriber, run, options, { feed: new GivenSpeech(given), maxMs: longest });
    }
    const stream = detector!.stream({ name: name.file });
    const feed = new DetectedSpeech(stream, {
      maxEndSilenceMs: options.maxEndSilence,
      maxSegmentMs: UNCUT_MS,
    });
    const clip = new LongClip(name, transcriber, run, options, {
      feed,
      maxMs: longestSegment(maxSeconds),
    });
    clip.#stream = stream;
    return clip;
  }

  /** Seconds of the clip, once they are known. */
  lasts(seconds: number): void {
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
    await this.options.deliver(this.#transcript(seconds, [...heard, ...faults]));
    if (this.options.plain) {
      print(this.#text === "" && named ? `${label}:` : "");
      for (const { start, end, text } of this.#found.flatMap(({ words = [] }) => words))
        print(`${start.toFixed(3)}\t${end.toFixed(3)}\t${text}`);
    }
    if (this.#text === "") note(`${label}: no speech was found`);
    for (const { start, end, finish } of this.#found)
      if (finish !== "stop")
        note(
          `${label}: ${start} to ${end} s: ${finish === "loop" ? "a repeating cycle was cut" : "the answer was cut"}`,
        );
  }

  /** What is wrong with the text. */
  #faults(): string[] {
    const strange = this.options.strange(this.#text);
    const untimed = this.#found
      .filter(({ wordsFailure }) => wordsFailure !== undefined)
      .map(({ start, end, wordsFailure }) => `no times of words from ${start} to ${end} s: ${wordsFailure}`);
    return strange === undefined ? untimed : [strange, ...untimed];
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
      finish: segments.find(({ finish }) => finish !== "stop")?.finish ?? "stop",
      ...(timed && { words: segments.flatMap(({ words = [] }) => words) }),
      segments,
      silences: silencesOf(segments, seconds),
      ...(warnings.length > 0 && { warning: warnings.join("; "), warnings }),
    };
    return { file, channel, segments, object };
  }

  /** Ends the line that was begun, before an error. */
  fail(): void {
    this.free();
    if (this.options.plain && this.#text !== "") print("");
  }

  free(): void {
    this.#bar?.stop();
    this.#stream?.free();
    this.#stream = undefined;
  }

  #take(segment: TranscriptSegment): void {
    this.#found.push(segment);
    const text = segment.text.replaceAll("\n", "\\u000a"); // a clip is a line
    if (text === "") return;
    const piece = jointOf(this.#text, text) + text;
    if (this.options.plain)
      printPart(this.#text === "" && this.name.named ? `${this.name.label}: ${piece}` : piece);
    this.#text += piece;
  }

  /** The same decoder with its seconds counted. */
  #decoder(): SegmentDecoder {
    const decoder = segmentDecoder(this.transcriber, this.run);
    return {
      ...decoder,
      prepare: (samples, name) => {
        const clip = decoder.prepare(samples, name);
        this.#seconds.frontend += clip.frontendSeconds;
        return clip;
      },
      transcribe: async (clips, options) => {
        const results = await decoder.transcribe(clips, options);
        for (const stage of ["encoder", "adaptor", "prefill", "decode"] as const)
          this.#seconds[stage] += results[0].seconds[stage];
        return results;
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

/** How much of a clip is done, and how long the rest will take, on stderr. */
class ProgressBar {
  #bar: ReturnType<typeof terminalBar>;
  #total = 0;

  constructor(private readonly label: string) {}

  lasts(seconds: number): void {
    this.#total = Math.max(this.#total, seconds);
    this.#bar?.setTotal(this.#total);
  }

  update(seconds: number): void {
    if (!this.#bar) {
      status("");
      this.#bar = terminalBar({ format: `${this.label} {bar} {done} of {whole}, {eta_formatted} left` });
      this.#bar?.start(Math.max(this.#total, seconds), 0, { done: "0:00", whole: clock(this.#total) });
    }
    this.#bar?.update(seconds, { done: clock(seconds), whole: clock(Math.max(this.#total, seconds)) });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** Hours, minutes and seconds: 1:02:03, or 2:03. */
function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return parts
    .slice(parts[0] > 0 ? 0 : 1)
    .map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0")))
    .join(":");
}
