import { type ModelConfig, audioTokens } from "../../config/model-config.js";
import type { PreparedClip, TranscribeOptions, Transcriber, Transcription } from "../transcriber.js";
import type { VoiceActivityDetector } from "../vad/detector.js";
import { DetectedSpeech, type GivenSegment, GivenSpeech } from "./feed.js";
import { checkSegmenterOptions } from "../vad/segmenter.js";
import { GpuError } from "../../gpu/errors.js";
import { PromptError } from "../../tokenizer/errors.js";
import { expectArgument } from "../../arguments.js";
import { joinTexts } from "../../scripts.js";
import { Recording, type SegmentDecoder, type TranscriptSegment, silencesOf } from "./recording.js";

/** How recordings are cut and run where nothing else is asked for. */
export const RECORDING_DEFAULTS = {
  /** A longer segment is cut. */
  maxMs: 30_000,
  /** Neighbours are joined up to this length, where the checkpoint names none: see mergeMsOf. */
  mergeMs: 15_000,
  /** Silence that ends a segment. */
  maxEndSilenceMs: 800,
  /** Tokens of audio that run together. */
  batchTokens: 1000,
  /** Segments that run together at most. */
  batch: 16,
} as const;

/** FSMN-VAD cuts no segment itself: `maxMs` does, where speech is least probable. */
export const UNCUT_MS = 86_400_000;

/** Transcribes clips that run together, as Transcriber.transcribe. */
export type RunClips = (
  clips: readonly PreparedClip[],
  options: TranscribeOptions,
) => Promise<readonly Transcription[]>;

/**
 * Runs a batch; where that fails, as for want of memory, each of its clips by itself.
 * @param signal  where it is aborted, no clip is run again; nor where the device is lost
 * @returns the results, in the order of the clips
 * @throws  what a clip by itself throws
 */
export async function transcribeAlone(
  clips: readonly PreparedClip[],
  run: (clips: readonly PreparedClip[]) => Promise<readonly Transcription[]>,
  signal?: AbortSignal,
): Promise<readonly Transcription[]> {
  try {
    return await run(clips);
  } catch (error) {
    const aborted = signal?.aborted === true || (error instanceof Error && error.name === "AbortError");
    if (clips.length === 1 || aborted || (error instanceof GpuError && error.lost)) throw error;
    const results: Transcription[] = [];
    for (const clip of clips) results.push(...(await run([clip])));
    return results;
  }
}

/** How the segments of a recording become text. */
export function segmentDecoder(transcriber: Transcriber, run: RunClips): SegmentDecoder {
  const { sampleRate, model } = transcriber;
  return {
    sampleRate,
    prepare: (samples, name) => transcriber.prepare({ channels: [samples], sampleRate }, name),
    transcribe: run,
    audioTokens: ({ frames }) => audioTokens(model.config.audioTokenRule, frames),
  };
}

/** Length up to which neighbours are joined where nothing else is asked for, ms. */
export function mergeMsOf({ mergeSeconds }: Pick<ModelConfig, "mergeSeconds">): number {
  return mergeSeconds === undefined ? RECORDING_DEFAULTS.mergeMs : 1000 * mergeSeconds;
}

/** The longest clip that is run whole where nothing else is asked for, s. */
export const WHOLE_SECONDS = 60;

/** The same where the checkpoint asks for shorter segments: see wholeSeconds. */
export const LEAST_WHOLE_SECONDS = RECORDING_DEFAULTS.mergeMs / 1000;

/**
 * The longest clip that is run whole where nothing else is asked for, s: 60, or 15 where the
 * checkpoint asks for segments that are shorter.
 * @param maxSeconds  of audio that fits the model
 */
export function wholeSeconds(config: Pick<ModelConfig, "mergeSeconds">, maxSeconds: number): number {
  const short = mergeMsOf(config) < RECORDING_DEFAULTS.mergeMs;
  return Math.min(maxSeconds, short ? LEAST_WHOLE_SECONDS : WHOLE_SECONDS);
}

/** Segments that are shorter have too little context for a transcript, s. */
const LEAST_SECONDS = 2;

/**
 * The longest segment that fits the model, ms, up to `RECORDING_DEFAULTS.maxMs`.
 * @param maxSeconds  of audio that fits beside the text of the prompt
 * @throws PromptError  less than 2 s fit
 */
export function longestSegment(maxSeconds: number): number {
  if (maxSeconds < LEAST_SECONDS) {
    const expected = `room for ${LEAST_SECONDS} s of audio in the model's positions`;
    const got = `room for ${Math.floor(maxSeconds * 100) / 100} s beside the text`;
    throw new PromptError("text", expected, got, { advice: "shorten the context or the hotwords" });
  }
  return Math.min(RECORDING_DEFAULTS.maxMs, Math.floor(maxSeconds * 100) * 10);
}

/** How a recording is cut, asked for and run. */
export interface RecordingTranscribeOptions extends Omit<TranscribeOptions, "onText" | "onStage"> {
  /** Name of the recording in errors. */
  readonly name?: string;
  /** The segments, in place of those that the detector finds; they are neither cut nor joined. */
  readonly segments?: readonly GivenSegment[] | undefined;
  /** Neighbours are joined up to this length; 0: never. Default: as the checkpoint says, or 15 s. */
  readonly mergeMs?: number;
  /** See RECORDING_DEFAULTS, as of the next two; 60,000 at most. */
  readonly maxEndSilenceMs?: number;
  readonly batchTokens?: number;
  readonly batch?: number;
  /** Called with each segment, in the order of time. */
  readonly onSegment?: (segment: TranscriptSegment) => void;
  /** How segments are transcribed, as by `runInEngine`. Default: `transcriber.transcribe`. */
  readonly run?: RunClips;
  /** Called with the seconds of the recording that are done. */
  readonly onProgress?: (seconds: number) => void;
}

/** A recording's text and its segments, in the order of time. */
export interface RecordingTranscription {
  readonly text: string;
  readonly segments: readonly TranscriptSegment[];
  /** What no segment has, in seconds. */
  readonly silences: readonly { readonly start: number; readonly end: number }[];
  readonly seconds: number;
}

/**
 * Transcribes a recording of any length in segments of speech. Text that the CTC head does not hear
 * is left out where the transcriber was loaded with `wordTimes: "optional"` (or true), else it stays.
 * @param detector  not asked, and perhaps undefined, where `segments` are given
 * @param blocks    [n] f32 each, mono, 16 kHz, range [-1, 1], of any lengths
 * @throws as Transcriber.transcribe; PromptError  less than 2 s fit the model; ArgumentError  no
 *         detector, segments that overlap, a block of another kind, an option out of range; as
 *         `refuse` of a segment that passes the audio's end
 */
export async function transcribeRecording(
  transcriber: Transcriber,
  detector: VoiceActivityDetector | undefined,
  blocks: Iterable<Float32Array> | AsyncIterable<Float32Array>,
  options: RecordingTranscribeOptions = {},
): Promise<RecordingTranscription> {
  const {
    name = "audio",
    segments: given,
    mergeMs,
    maxEndSilenceMs,
    batchTokens,
    batch,
    onSegment,
    onProgress,
    run,
    ...prompt
  } = options;
  const runClips: RunClips = run ?? ((clips, asked) => transcriber.transcribe(clips, asked));
  const segments: TranscriptSegment[] = [];
  for (const [field, value] of Object.entries({ batch, batchTokens }))
    expectArgument(`transcribeRecording: ${field}`, value === undefined || value >= 1, "at least 1", value);
  const merges = mergeMs === undefined || mergeMs >= 0;
  expectArgument("transcribeRecording: mergeMs", merges, "0 ms or more", mergeMs);
  const silence = maxEndSilenceMs ?? RECORDING_DEFAULTS.maxEndSilenceMs;
  checkSegmenterOptions({ maxEndSilenceMs: silence });
  expectArgument("transcribeRecording: detector", Boolean(detector ?? given), "one, or segments", detector);
  const maxMs = given ? Infinity : longestSegment(transcriber.maxSeconds(prompt));
  const stream = given ? undefined : detector?.stream({ name, signal: prompt.signal });
  const feed = stream
    ? new DetectedSpeech(stream, { maxEndSilenceMs: silence, maxSegmentMs: UNCUT_MS })
    : new GivenSpeech(given!);
  const decoder = segmentDecoder(transcriber, (clips, extra) =>
    transcribeAlone(clips, (some) => runClips(some, { ...prompt, ...extra }), prompt.signal),
  );
  const recording = new Recording(name, feed, decoder, {
    maxMs,
    mergeMs: given ? 0 : Math.min(maxMs, mergeMs ?? mergeMsOf(transcriber.model.config)),
    batchTokens: batchTokens ?? RECORDING_DEFAULTS.batchTokens,
    batch: batch ?? RECORDING_DEFAULTS.batch,
    repetitionPenalty: prompt.repetitionPenalty,
    onSegment: (segment) => {
      segments.push(segment);
      onSegment?.(segment);
    },
    ...(onProgress && { onProgress }),
  });
  try {
    for await (const block of blocks) {
      const samples = block instanceof Float32Array;
      expectArgument("transcribeRecording: blocks", samples, "a Float32Array each", block);
      await recording.push(block);
    }
    const seconds = await recording.end();
    const text = joinTexts(segments.map((segment) => segment.text));
    return { text, segments, silences: silencesOf(segments, seconds), seconds };
  } finally {
    stream?.free();
  }
}
