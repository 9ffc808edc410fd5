import type { TranscriptionEngine } from "../../decode/engine/engine.js";
import type { EngineTranscription } from "../../decode/engine/options.js";
import { DetectedSpeech } from "../../decode/segments/feed.js";
import {
  Recording,
  type RecordingOptions,
  type SegmentDecoder,
  type SpeechFeed,
  type TranscriptSegment,
} from "../../decode/segments/recording.js";
import { withoutSilenceMarks } from "../../decode/segments/silence-marks.js";
import {
  RECORDING_DEFAULTS,
  UNCUT_MS,
  longestSegment,
  mergeMsOf,
  segmentDecoder,
  wholeSeconds,
} from "../../decode/segments/transcribe-recording.js";
import type { PreparedClip, Transcriber } from "../../decode/transcriber.js";
import type { VoiceActivityDetector } from "../../decode/vad/detector.js";
import { concatenated } from "../../frontend/audio.js";
import type { PromptOptions } from "../../tokenizer/prompt.js";
import type { Heard, Item, ResultSegment } from "../item.js";
import type { CorpusOptions } from "../manifest.js";
import type { BusyClock } from "./busy.js";
import { PieceWork } from "./piece.js";
import { type ReadOptions, nameOf, streamPart } from "./read.js";

/** The models of an engine's process, and the plan's options. */
export interface Models {
  readonly transcriber: Transcriber;
  readonly detector: VoiceActivityDetector;
  readonly engine: TranscriptionEngine;
  readonly options: CorpusOptions;
  readonly busy: BusyClock;
}

/** How recordings are cut into segments. */
interface Cutting {
  readonly maxMs: number;
  readonly mergeMs: number;
  readonly maxEndSilenceMs: number;
}

/** One item on its way from a file to segments. */
export class ItemWork {
  readonly #prompt: PromptOptions;

  constructor(
    private readonly models: Models,
    private readonly item: Item,
    private readonly signal: AbortSignal,
  ) {
    const { language, hotwords, context, itn } = models.options;
    const { prompt } = item;
    this.#prompt =
      prompt !== undefined
        ? { prompt }
        : {
            ...(language !== undefined && { language }),
            ...(hotwords && { hotwords }),
            ...(context !== undefined && { context }),
            ...(itn !== undefined && { itn }),
          };
  }

  /** @throws AudioError, PromptError, GpuError, DecodeError; the system's error; the signal's reason */
  async heard(): Promise<Heard> {
    const { item } = this;
    const { transcriber } = this.models;
    transcriber.checkPrompt(this.#prompt);
    if (item.piece) {
      const { maxEndSilenceMs } = this.#cutting();
      return new PieceWork(item, item.piece, this.#reading, maxEndSilenceMs, this).heard();
    }
    const rate = transcriber.sampleRate;
    const most = wholeSeconds(transcriber.model.config, transcriber.maxSeconds(this.#prompt)) * rate;
    const segments: TranscriptSegment[] = [];
    let long: Recording | undefined;
    let stream: ReturnType<VoiceActivityDetector["stream"]> | undefined;
    let pieces: Float32Array[] = [];
    let count = 0;
    try {
      const warnings = await streamPart(item, this.#reading, async (samples) => {
        count += samples.length;
        if (long) return long.push(samples);
        pieces.push(samples.slice());
        if (count <= most) return;
        stream = this.vadStream();
        long = this.recording(this.speechOf(stream), (segment) => segments.push(segment));
        await long.push(concatenated(pieces));
        pieces = [];
      });
      if (long) await long.end();
      else segments.push(...(await this.#whole(concatenated(pieces), rate)));
      return this.result(segments, count / rate, warnings, item.start ?? 0);
    } finally {
      stream?.free();
    }
  }

  get #reading(): ReadOptions {
    const { transcriber, options } = this.models;
    const { channel, strict } = options;
    return { rate: transcriber.sampleRate, channel, strict, signal: this.signal };
  }

  #cutting(): Cutting {
    const { transcriber, options } = this.models;
    const maxMs = longestSegment(transcriber.maxSeconds(this.#prompt));
    const { mergeSeconds, maxEndSilence = RECORDING_DEFAULTS.maxEndSilenceMs } = options;
    const mergeMs = mergeSeconds === undefined ? mergeMsOf(transcriber.model.config) : mergeSeconds * 1000;
    return { maxMs, mergeMs: Math.min(maxMs, mergeMs), maxEndSilenceMs: maxEndSilence };
  }

  vadStream(): ReturnType<VoiceActivityDetector["stream"]> {
    return this.models.detector.stream({ name: nameOf(this.item), signal: this.signal });
  }

  /** The speech that the net finds, its time counted. */
  speechOf(stream: ReturnType<VoiceActivityDetector["stream"]>): DetectedSpeech {
    const counted = {
      push: (samples: Float32Array, end?: boolean) => this.models.busy.count(stream.push(samples, end)),
      free: () => stream.free(),
    };
    const { maxEndSilenceMs } = this.#cutting();
    return new DetectedSpeech(counted, { maxEndSilenceMs, maxSegmentMs: UNCUT_MS });
  }

  /** @param known  see RecordingOptions */
  recording(
    feed: SpeechFeed,
    onSegment: (segment: TranscriptSegment) => void,
    known?: RecordingOptions["known"],
  ): Recording {
    const { transcriber, options } = this.models;
    const { maxMs, mergeMs } = this.#cutting();
    const decoder: SegmentDecoder = segmentDecoder(transcriber, (clips, { repetitionPenalty }) =>
      Promise.all(clips.map((clip) => this.#run(clip, repetitionPenalty ?? options.repetitionPenalty))),
    );
    const { batchTokens, batch } = RECORDING_DEFAULTS;
    return new Recording(nameOf(this.item), feed, decoder, {
      maxMs,
      mergeMs,
      batchTokens,
      batch,
      repetitionPenalty: options.repetitionPenalty,
      onSegment,
      ...(known && { known }),
    });
  }

  async #whole(samples: Float32Array, sampleRate: number): Promise<TranscriptSegment[]> {
    const clip = this.models.transcriber.prepare({ channels: [samples], sampleRate }, nameOf(this.item));
    const answer = await this.#run(clip, this.models.options.repetitionPenalty);
    const { tokenIds, finish, words, wordsFailure, agreement } = answer;
    const text = withoutSilenceMarks(answer.text);
    return [
      {
        start: 0,
        end: clip.audioSeconds,
        text,
        tokenIds,
        finish,
        ...(words && { words }),
        ...(wordsFailure !== undefined && { wordsFailure }),
        ...(agreement !== undefined && { agreement }),
      },
    ];
  }

  #run(clip: PreparedClip, repetitionPenalty: number | undefined): Promise<EngineTranscription> {
    const { engine, options, busy } = this.models;
    const job = engine.submit(clip, {
      ...this.#prompt,
      ...(options.maxTokens !== undefined && { maxNewTokens: options.maxTokens }),
      ...(repetitionPenalty !== undefined && { repetitionPenalty }),
      signal: this.signal,
      wordTimes: this.models.transcriber.aligner !== undefined,
      owner: this,
    });
    return busy.count(job);
  }

  /** @param offset  of the segments' times, s */
  result(
    found: readonly TranscriptSegment[],
    seconds: number,
    warnings: readonly string[],
    offset: number,
  ): Heard {
    const segments = found.filter(({ text }) => text !== "").map((segment) => this.#segment(segment, offset));
    return { seconds: rounded(seconds), segments, ...(warnings.length > 0 && { warnings }) };
  }

  #segment({ start, end, text, finish, agreement, words }: TranscriptSegment, offset: number): ResultSegment {
    const moved = this.models.options.wordTimes ? words : undefined;
    return {
      start: rounded(start + offset),
      end: rounded(end + offset),
      text,
      ...(finish !== "stop" && { finish }),
      ...(agreement !== undefined && { agreement: rounded(agreement) }),
      ...(moved && {
        words: moved.map((word) => ({
          ...word,
          start: rounded(word.start + offset),
          end: rounded(word.end + offset),
          confidence: rounded(word.confidence),
        })),
      }),
    };
  }
}

/** To a thousandth. */
export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
