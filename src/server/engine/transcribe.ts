import { audioTokens } from "../../config/model-config.js";
import { DetectedSpeech } from "../../decode/segments/feed.js";
import { Recording, type TranscriptSegment } from "../../decode/segments/recording.js";
import { withoutSilenceMarks } from "../../decode/segments/silence-marks.js";
import {
  RECORDING_DEFAULTS,
  UNCUT_MS,
  longestSegment,
  mergeMsOf,
  segmentDecoder,
  wholeSeconds,
} from "../../decode/segments/transcribe-recording.js";
import type { PreparedClip, Transcriber, Transcription } from "../../decode/transcriber.js";
import type { TranscriptionEngine } from "../../decode/engine/engine.js";
import type { SubmitOptions } from "../../decode/engine/options.js";
import { translationPrompt } from "../../decode/translator.js";
import type { VadStream, VoiceActivityDetector } from "../../decode/vad/detector.js";
import { oneLine } from "../../errors.js";
import { concatenated } from "../../frontend/audio.js";
import { LongAudioError } from "../../frontend/errors.js";
import type { Streamed } from "../../frontend/stream-audio.js";
import { streamClip } from "../../node/clip.js";
import { jointOf, joinTexts } from "../../scripts.js";
import type { PromptOptions } from "../../tokenizer/prompt.js";
import { DeltaText } from "./delta.js";
import type { Job, JobEvents, JobResult, Wish } from "./engine.js";
import { EngineError } from "./errors.js";
import type { Turn } from "./turns.js";

/** The models, and the engine that runs clips on them. */
export interface Models {
  readonly transcriber: Transcriber;
  readonly detector: VoiceActivityDetector;
  /** Runs clips of all recordings and live sessions. */
  readonly engine: TranscriptionEngine;
}

/** The model's options of a wish. */
export function promptOf({ language, hotwords, context, itn }: Wish): PromptOptions {
  return {
    ...(language !== undefined && { language }),
    ...(hotwords && hotwords.length > 0 && { hotwords }),
    ...(context !== undefined && { context }),
    ...(itn !== undefined && { itn }),
  };
}

/** The refusal of audio that is longer than the server takes; the decoder speaks of the model. */
function tooLong(error: unknown, { name, maxSeconds }: Job): EngineError | undefined {
  if (!(error instanceof LongAudioError)) return undefined;
  const got = `${error.seconds.toFixed(1)} s`;
  const message = oneLine(`${name}: duration: expected at most ${maxSeconds} s, got ${got}`);
  return new EngineError({ kind: "long", message });
}

/** What happens while a recording is worked on. */
interface WorkEvents extends Pick<JobEvents, "onDelta"> {
  readonly signal: AbortSignal;
  /** A block of audio was read. */
  readonly onRead: () => void;
  /** Lets other recordings go on while `body` waits for the model. */
  readonly away: Turn["away"];
}

const pieceSeconds = 10; // of a long recording

/** One recording on its way from a file to text. */
export class Work {
  readonly #prompt: PromptOptions;
  readonly #tokens = { audio: 0, text: 0, output: 0 };
  readonly #segments: TranscriptSegment[] = [];
  readonly #begun = performance.now();
  #text = "";

  constructor(
    private readonly models: Models,
    private readonly job: Job,
    private readonly events: WorkEvents,
  ) {
    this.#prompt = job.task === "translate" ? { prompt: translationPrompt("en") } : promptOf(job);
  }

  /** @throws AudioError, PromptError, GpuError; the signal's reason */
  async result(): Promise<JobResult> {
    const { transcriber } = this.models;
    const { job } = this;
    const { signal, onRead } = this.events;
    transcriber.checkPrompt(this.#prompt);
    const rate = transcriber.sampleRate;
    const fits = transcriber.maxSeconds(this.#prompt);
    const whole = job.cut ? 0 : wholeSeconds(transcriber.model.config, fits) * rate;
    let long: Recording | undefined;
    let stream: VadStream | undefined;
    let pieces: Float32Array[] = [];
    let count = 0;
    try {
      const options = { rate, maxSeconds: job.maxSeconds, signal };
      const heard = await streamClip(
        job.file,
        options,
        async (samples) => {
          onRead();
          if (!long) {
            pieces.push(samples);
            count += samples.length;
            if (count <= whole) return;
            stream = this.models.detector.stream({ name: job.name, signal });
            long = this.#recording(stream, longestSegment(fits));
            samples = concatenated(pieces);
            pieces = [];
          }
          await this.#push(long, samples);
        },
        job.name,
      ).catch((error: unknown) => {
        throw tooLong(error, job) ?? error;
      });
      if (long) await long.end();
      else await this.#whole(concatenated(pieces), rate);
      return this.#result(heard);
    } finally {
      stream?.free();
    }
  }

  /** Piece by piece, so that recordings take turns. */
  async #push(recording: Recording, samples: Float32Array): Promise<void> {
    const piece = pieceSeconds * this.models.transcriber.sampleRate;
    for (let at = 0; at < samples.length; at += piece) {
      await recording.push(samples.subarray(at, at + piece));
      await this.events.away(() => Promise.resolve());
    }
  }

  #result({ seconds: audioSeconds, damage, warning }: Streamed): JobResult {
    const warnings = [damage, warning]
      .filter((text) => text !== undefined)
      .map((text) => oneLine(`${this.job.name}: ${text}`));
    return {
      text: joinTexts(this.#segments.map(({ text }) => text)),
      segments: this.#segments,
      audioSeconds,
      workSeconds: (performance.now() - this.#begun) / 1000,
      tokens: this.#tokens,
      ...(warnings.length > 0 && { warnings }),
    };
  }

  async #whole(samples: Float32Array, sampleRate: number): Promise<void> {
    const { transcriber } = this.models;
    const clip = transcriber.prepare({ channels: [samples], sampleRate }, this.job.name);
    const deltas = new DeltaText();
    const send = (text: string): void => {
      if (text !== "") this.events.onDelta?.(text);
    };
    const onText = this.events.onDelta && ((text: string): void => send(deltas.push(text)));
    const { words: wanted } = this.job;
    const options = { words: wanted, ...(onText && { onText }) };
    const { tokenIds, finish, ...answer } = await this.events.away(() => this.#run(clip, options));
    const text = withoutSilenceMarks(answer.text);
    send(deltas.end(text));
    if (text === "") return;
    const { words, wordsFailure, agreement } = answer;
    this.#segments.push({
      start: 0,
      end: clip.audioSeconds,
      text,
      tokenIds,
      finish,
      ...(words && { words }),
      ...(wordsFailure !== undefined && { wordsFailure }),
      ...(agreement !== undefined && { agreement }),
    });
  }

  #recording(stream: VadStream, maxMs: number): Recording {
    const { transcriber } = this.models;
    const maxEndSilenceMs = this.job.cut?.maxEndSilenceMs ?? RECORDING_DEFAULTS.maxEndSilenceMs;
    const feed = new DetectedSpeech(stream, { maxEndSilenceMs, maxSegmentMs: UNCUT_MS });
    const decoder = segmentDecoder(transcriber, (clips, { repetitionPenalty }) => {
      const options = { words: true, ...(repetitionPenalty !== undefined && { repetitionPenalty }) };
      return this.events.away(() => Promise.all(clips.map((clip) => this.#run(clip, options))));
    });
    const { batchTokens, batch } = RECORDING_DEFAULTS;
    return new Recording(this.job.name, feed, decoder, {
      maxMs,
      mergeMs: Math.min(maxMs, mergeMsOf(transcriber.model.config)),
      batchTokens,
      batch,
      onSegment: (segment) => this.#take(segment),
    });
  }

  #take(segment: TranscriptSegment): void {
    if (segment.text === "") return;
    this.#segments.push(this.job.words ? segment : { ...segment, words: undefined, wordsFailure: undefined });
    const piece = jointOf(this.#text, segment.text) + segment.text;
    this.#text += piece;
    this.events.onDelta?.(piece);
  }

  async #run(
    clip: PreparedClip,
    { words, ...options }: Pick<SubmitOptions, "repetitionPenalty" | "onText"> & { readonly words: boolean },
  ): Promise<Transcription> {
    const { transcriber } = this.models;
    const [{ ids }] = transcriber.promptTokens([clip], this.#prompt);
    const audio = audioTokens(transcriber.model.config.audioTokenRule, clip.frames);
    const answer = await this.models.engine.submit(clip, {
      ...this.#prompt,
      ...options,
      signal: this.events.signal,
      wordTimes: words && this.job.task === "transcribe",
      owner: this,
    });
    this.#tokens.audio += audio;
    this.#tokens.text += ids.length - audio;
    this.#tokens.output += answer.tokenIds.length;
    return answer;
  }
}
