import type { Utterance } from "../../data/utterances.js";
import { DetectedSpeech, type SilenceStream } from "../../decode/segments/feed.js";
import { joinTexts } from "../../scripts.js";
import { Recording, type TranscriptSegment } from "../../decode/segments/recording.js";
import {
  RECORDING_DEFAULTS,
  UNCUT_MS,
  longestSegment,
  mergeMsOf,
  segmentDecoder,
  transcribeAlone,
} from "../../decode/segments/transcribe-recording.js";
import type {
  PreparedClip,
  TranscribeOptions,
  Transcriber,
  Transcription,
} from "../../decode/transcriber.js";
import type { VadStream, VoiceActivityDetector } from "../../decode/vad/detector.js";
import type { Sink } from "../../frontend/hearing.js";
import type { Heard, HeardSegment } from "../record.js";
import { withoutIgnored } from "./ignored.js";

/** Audio that is run in segments as its samples come. */
export interface LongAudio {
  /** Gives mono samples at the transcriber's rate, and at the end what is wrong with them. */
  readonly stream: (sink: Sink) => Promise<{ readonly warnings: readonly string[] }>;
}

/** How recordings are cut and run; see RECORDING_DEFAULTS. */
export interface RecordingSettings {
  /** Default: as the checkpoint says. */
  readonly mergeMs?: number | undefined;
  readonly maxEndSilenceMs?: number | undefined;
  readonly batchTokens?: number | undefined;
  /** Segments that run together at most. */
  readonly batch?: number | undefined;
}

/** What runs a recording. */
export interface RecordingTools {
  readonly detector: VoiceActivityDetector;
  readonly settings: RecordingSettings;
  /** Runs segments. */
  readonly run: (
    clips: readonly PreparedClip[],
    options: TranscribeOptions,
  ) => Promise<readonly Transcription[]>;
  /** The longest audio that fits the model, s. */
  readonly maxSeconds: number;
  /** Whether the agreement with the CTC head's text is kept. */
  readonly agreement: boolean;
  /** Called with the seconds that are done. */
  readonly onProgress?: ((seconds: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was heard of a recording. */
export type HeardRecording = Pick<
  Heard,
  "hypothesis" | "tokens" | "finish" | "audioSeconds" | "seconds" | "batch" | "segments"
> & { readonly warnings: readonly string[] };

/**
 * Runs one recording of any length in segments. Times are in the file; what the reference ignores
 * is left out.
 * @throws as Transcriber.transcribe, and what the stream throws
 */
export async function hearRecording(
  transcriber: Transcriber,
  { audio: name, start = 0, ignore = [] }: Utterance,
  { stream: give }: LongAudio,
  tools: RecordingTools,
): Promise<HeardRecording> {
  const { detector, settings, maxSeconds, onProgress, signal } = tools;
  const maxMs = longestSegment(maxSeconds); // first: it may be refused
  const seconds = { frontend: 0, encoder: 0, adaptor: 0, prefill: 0, decode: 0, vad: 0 };
  const stream = detector.stream({ name, signal });
  const maxEndSilenceMs = settings.maxEndSilenceMs ?? RECORDING_DEFAULTS.maxEndSilenceMs;
  const found: TranscriptSegment[] = [];
  const recording = new Recording(
    name,
    new DetectedSpeech(timed(stream, seconds), { maxEndSilenceMs, maxSegmentMs: UNCUT_MS }),
    segmentDecoder(transcriber, (clips, options) => {
      if (options.repetitionPenalty === undefined)
        for (const { frontendSeconds } of clips) seconds.frontend += frontendSeconds;
      const run = async (some: readonly PreparedClip[]): Promise<readonly Transcription[]> => {
        const results = await tools.run(some, options);
        for (const stage of ["encoder", "adaptor", "prefill", "decode"] as const)
          seconds[stage] += results[0].seconds[stage];
        return results;
      };
      return transcribeAlone(clips, run, signal);
    }),
    {
      maxMs,
      mergeMs: Math.min(maxMs, settings.mergeMs ?? mergeMsOf(transcriber.model.config)),
      batchTokens: settings.batchTokens ?? RECORDING_DEFAULTS.batchTokens,
      batch: settings.batch ?? RECORDING_DEFAULTS.batch,
      onSegment: (segment) => void found.push(segment),
      ...(onProgress && { onProgress }),
    },
  );
  try {
    const { warnings } = await give((samples) => recording.push(samples));
    const audioSeconds = await recording.end();
    const segments = withoutIgnored(
      found.map((segment) => heardSegment(segment, start, tools.agreement)),
      ignore,
    );
    return {
      hypothesis: joinTexts(segments.map(({ text }) => text)),
      tokens: found.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0),
      finish:
        found.map(({ finish }) => finish).find((finish) => finish !== "stop" && finish !== "no-speech") ??
        "stop",
      audioSeconds,
      seconds,
      batch: 1,
      segments,
      warnings,
    };
  } finally {
    stream.free();
  }
}

/** The same stream with its seconds counted. */
function timed(stream: VadStream, seconds: { vad: number }): SilenceStream {
  return {
    push: async (samples, end) => {
      const begin = performance.now();
      const result = await stream.push(samples, end);
      seconds.vad += (performance.now() - begin) / 1000;
      return result;
    },
    free: () => stream.free(),
  };
}

/** A segment with its times in the file. */
function heardSegment(
  { start, end, text, words, finish, agreement, retries }: TranscriptSegment,
  offset: number,
  compared: boolean,
): HeardSegment {
  const at = (time: number): number => Math.round((time + offset) * 1000) / 1000;
  return {
    start: at(start),
    end: at(end),
    text,
    ...(words && {
      words: words.map((word) => ({ text: word.text, start: at(word.start), end: at(word.end) })),
    }),
    ...(finish !== "stop" && { finish }),
    ...(compared && agreement !== undefined && { agreement }),
    ...(retries && { retries: retries.length }),
  };
}
