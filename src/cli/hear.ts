import { concatenated } from "../frontend/audio.js";
import type { DecodedAudio } from "../frontend/audio.js";
import type { PreparedClip, TranscribeOptions, Transcriber, Transcription } from "../decode/transcriber.js";
import type { GivenSegment } from "../decode/segments/feed.js";
import type { SegmentFile } from "../decode/segments/segment-file.js";
import { RECORDING_DEFAULTS, longestSegment, wholeSeconds } from "../decode/segments/transcribe-recording.js";
import { scriptWarning, translationWarning } from "../decode/language-warnings.js";
import { translate, translationPrompt } from "../decode/translator.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { channelLabel } from "../frontend/audio.js";
import { decodeClip, findClip, streamClip } from "../node/clip.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import { chosenChannels } from "./channel.js";
import { LongClip, type LongClipName, type LongClipOptions } from "./long-clip.js";
import { note } from "./output.js";
import { PartialWork } from "./partial-work.js";
import type { TranscribeCliOptions } from "./transcribe-options.js";
import { deliver, deliverReport, hasOutputs, isPlain, partialPath } from "./transcript-files.js";

/** What all clips of a run share. */
export interface Session {
  readonly transcriber: Transcriber;
  readonly options: TranscribeCliOptions;
  readonly detector: () => Promise<VoiceActivityDetector>;
  /** The segments of --segments. */
  readonly given?: SegmentFile | undefined;
  /** Paths of the model, its LoRAs and the voice activity net. */
  readonly models: readonly string[];
}

export interface ReadyClip extends PreparedClip {
  readonly file: string;
  /** The channel that was asked for, counted from 1. */
  readonly channel?: number;
  /** The file as lines of text name it: with its channel where each has a line. */
  readonly label: string;
  /** What is wrong with the audio; its words may be incomplete. */
  readonly warnings: readonly string[];
}

/**
 * Decodes a file: a clip for a batch, or one of each channel; a long one is transcribed at once,
 * behind the clips before it.
 */
export async function hear(
  session: Session,
  name: LongClipName,
  ready: (clip: ReadyClip) => void,
  flush: () => Promise<void>,
): Promise<void> {
  const { transcriber, options, given } = session;
  const { channel, strict, vad } = options;
  const rate = transcriber.sampleRate;
  const maxSeconds = transcriber.maxSeconds(promptOptions(options));
  const whole = vad === "off" && !given;
  const limit = vad === undefined && !given ? wholeSeconds(transcriber.model.config, maxSeconds) * rate : 0;
  const to = { limit, ready, flush };
  if (!whole && channel !== "each") {
    await hearStream(session, typeof channel === "number" ? { ...name, channel } : name, to);
    return;
  }
  if (!whole) {
    const { length, count } = await lengthOf(name.file, rate, strict);
    if (length > limit) {
      for (const part of partsOf(name, count))
        if (!isDone(part, options)) await hearStream(session, part, to);
      return;
    }
  }
  const decoding = { strict, keep: { rate, channel }, ...(whole && { maxSeconds }) };
  const audio = await decodeClip(name.file, decoding);
  for (const [i, part] of chosenChannels(audio, channel).entries()) {
    const clip = channel === "each" ? partsOf(name, audio.channels.length)[i] : { ...name, channel };
    if (!isDone(clip, options)) ready(readyClip(transcriber, part.audio, clip));
  }
}

/** Samples of a channel, and channels. */
async function lengthOf(
  file: string,
  rate: number,
  strict = false,
): Promise<{ readonly length: number; readonly count: number }> {
  let length = 0;
  const sink = (samples: Float32Array): void => void (length += samples.length);
  const { channelCount: count } = await streamClip(file, { rate, channel: 1, strict }, sink);
  return { length, count };
}

/** The channels of a clip, each with a line of its own. */
function partsOf(name: LongClipName, count: number): LongClipName[] {
  return Array.from({ length: count }, (_, i) => ({
    ...name,
    channel: i + 1,
    label: `${name.label} [${channelLabel(i + 1, count)}]`,
  }));
}

/** Whether a clip's files are there, and are not to be written again. */
function isDone({ file, channel, label }: LongClipName, options: TranscribeCliOptions): boolean {
  const done = options.resume === true && hasOutputs(file, channel, options);
  if (done) note(`${label}: is done`);
  return done;
}

/** Decodes a file up to where it is too long for a clip; from there on its samples are not kept. */
async function hearStream(
  session: Session,
  name: LongClipName,
  to: {
    readonly limit: number;
    readonly ready: (clip: ReadyClip) => void;
    readonly flush: () => Promise<void>;
  },
): Promise<void> {
  const { transcriber, options } = session;
  const { strict } = options;
  const { channel } = name;
  const rate = transcriber.sampleRate;
  let long: LongClip | undefined;
  let pieces: Float32Array[] = [];
  let [count, seconds, byHeader] = [0, 0, false];
  const sink = async (samples: Float32Array): Promise<void> => {
    if (long) return long.push(samples);
    pieces.push(samples);
    count += samples.length;
    if (count <= to.limit) return;
    await to.flush();
    long = await beginLong(session, name);
    long.lasts(seconds, byHeader);
    await long.push(concatenated(pieces));
    pieces = [];
  };
  const onLength = (length: number, declared: boolean): void => {
    [seconds, byHeader] = [length, declared];
    long?.lasts(length, declared);
  };
  const decoding = { rate, channel, ...(strict && { strict }), onLength };
  const audio = await streamClip(name.file, decoding, sink).catch((error: unknown) => {
    long?.fail();
    throw error;
  });
  if (long) await endLong(long, () => Promise.resolve(audio));
  else {
    const whole = { ...audio, channels: [concatenated(pieces)], sampleRate: rate };
    to.ready(readyClip(transcriber, whole, name));
  }
}

async function beginLong(session: Session, name: LongClipName): Promise<LongClip> {
  const { transcriber, options } = session;
  const { batch = RECORDING_DEFAULTS.batch } = options;
  const run = (clips: readonly PreparedClip[], extra: TranscribeOptions): Promise<readonly Transcription[]> =>
    runClips(transcriber, clips, options, { ...extra, wordTimes: true });
  const maxSeconds = transcriber.maxSeconds(promptOptions(options));
  const given = session.given?.of(name.file, Math.floor(maxSeconds * 100) * 10, name.channel);
  const maxMs = given ? Infinity : longestSegment(maxSeconds);
  const detector = given ? undefined : await session.detector();
  const partial = await openPartial(session, name, given);
  if (partial && partial.size > 0) note(`${name.label}: ${partial.size} segments are done`);
  const clip: LongClipOptions = {
    ...options,
    batch,
    given,
    partial,
    strange: (text) => strangeText(text, options),
    plain: isPlain(options),
    deliver: (transcript) => deliver(transcript, options),
    report: (transcript) => deliverReport(transcript, session),
  };
  try {
    return LongClip.begin(name, transcriber, run, clip, { detector, maxMs });
  } catch (error) {
    partial?.close();
    throw error;
  }
}

/** Where the finished segments of a clip are kept; undefined without --output-dir. */
async function openPartial(
  { options, models }: Session,
  { file, channel }: LongClipName,
  given: readonly GivenSegment[] | undefined,
): Promise<PartialWork | undefined> {
  const path = partialPath(file, channel, options);
  if (path === undefined || !(await findClip(file, Infinity)).isFile()) return undefined;
  const { to, cascade, language, hotwords, context, itn, weights, wordTimes } = options;
  const { mergeSeconds, maxEndSilence, maxTokens, repetitionPenalty } = options;
  const answers = { to, cascade, language, hotwords, context, itn, weights, wordTimes };
  const cuts = { mergeSeconds, maxEndSilence, channel, given, vad: options.vad };
  const work = { file, models, options: { ...answers, ...cuts, maxTokens, repetitionPenalty } };
  return PartialWork.open(path, work, options.resume === true);
}

async function endLong(
  clip: LongClip,
  hear: () => Promise<Pick<DecodedAudio, "damage" | "warning">>,
): Promise<void> {
  try {
    await clip.end(warningsOf(await hear(), clip.name.label));
  } catch (error) {
    clip.fail();
    throw error;
  }
}

function readyClip(
  transcriber: Transcriber,
  audio: DecodedAudio,
  { file, channel, label }: LongClipName,
): ReadyClip {
  const { warning, ...clip } = transcriber.prepare(audio, file);
  return { ...clip, file, channel, label, warnings: warningsOf({ ...audio, warning }, label) };
}

function warningsOf({ damage, warning }: Pick<DecodedAudio, "damage" | "warning">, label: string): string[] {
  const warnings = [damage, warning].filter((text) => text !== undefined);
  for (const text of warnings) note(`warning: ${label}: ${text}`);
  return warnings;
}

/** The words of clips, or their translation, as the command line asks. */
export function runClips(
  transcriber: Transcriber,
  clips: readonly PreparedClip[],
  options: TranscribeCliOptions,
  extra: TranscribeOptions,
): Promise<readonly Transcription[]> {
  const { to, cascade, language, maxTokens: maxNewTokens, repetitionPenalty } = options;
  const run = { maxNewTokens, repetitionPenalty, wordTimes: options.wordTimes === true, ...extra };
  return to === undefined
    ? transcriber.transcribe(clips, { ...promptOptions(options), ...run })
    : translate(transcriber, clips, { ...run, to, cascade, language });
}

/** A warning where a text is in another language than was asked for. */
export function strangeText(
  text: string,
  { to, language }: Pick<TranscribeCliOptions, "to" | "language">,
): string | undefined {
  return to === undefined ? scriptWarning(text, language) : translationWarning(text, to);
}

export function promptOptions(options: TranscribeCliOptions): PromptOptions {
  const { to, cascade, language, hotwords, context, itn } = options;
  if (to !== undefined && !cascade) return { prompt: translationPrompt(to) };
  return { language, hotwords, context, itn };
}
