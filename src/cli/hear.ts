import { concatenated } from "../frontend/audio.js";
import type { DecodedAudio } from "../frontend/audio.js";
import type { PreparedClip, TranscribeOptions, Transcriber, Transcription } from "../decode/transcriber.js";
import { RECORDING_DEFAULTS } from "../decode/segments/transcribe-recording.js";
import { scriptWarning, translationWarning } from "../decode/language-warnings.js";
import { translate, translationPrompt } from "../decode/translator.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import { decodeClip, streamClip } from "../node/clip.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import { type ChannelChoice, chosenChannels } from "./channel.js";
import { LongClip, type LongClipName, WHOLE_SECONDS } from "./long-clip.js";
import { note } from "./output.js";
import type { TranscribeCliOptions } from "./transcribe-options.js";
import { deliver, isPlain } from "./transcript-files.js";

/** What all clips of a run share. */
export interface Session {
  readonly transcriber: Transcriber;
  readonly options: TranscribeCliOptions;
  readonly detector: () => Promise<VoiceActivityDetector>;
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
  const { transcriber, options } = session;
  const { channel, strict, vad, segments } = options;
  const { file } = name;
  const rate = transcriber.sampleRate;
  const maxSeconds = transcriber.maxSeconds(promptOptions(options));
  const whole = vad === "off" && segments === undefined;
  const limit = vad === undefined && segments === undefined ? Math.min(WHOLE_SECONDS, maxSeconds) * rate : 0;
  if (!whole && channel !== "each") {
    await hearStream(session, name, { limit, ready, flush });
    return;
  }
  const decoding = { strict, keep: { rate, channel }, ...(whole && { maxSeconds }) };
  for (const { audio, ...part } of chosenChannels(await decodeClip(file, decoding), channel)) {
    const label = channel === "each" ? `${name.label} [${part.label}]` : name.label;
    if (whole || audio.channels[0].length <= limit)
      ready(readyClip(transcriber, audio, { ...name, label, channel: part.channel }));
    else {
      await flush();
      const clip = await beginLong(session, { ...name, label, channel: part.channel });
      await endLong(clip, async () => (await clip.push(audio.channels[0]), audio));
    }
  }
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
  const { strict, channel } = options;
  const rate = transcriber.sampleRate;
  let long: LongClip | undefined;
  let pieces: Float32Array[] = [];
  let [count, seconds] = [0, 0];
  const sink = async (samples: Float32Array): Promise<void> => {
    if (long) return long.push(samples);
    pieces.push(samples);
    count += samples.length;
    if (count <= to.limit) return;
    await to.flush();
    long = await beginLong(session, named(name, channel));
    long.lasts(seconds);
    await long.push(concatenated(pieces));
    pieces = [];
  };
  const onLength = (length: number): void => {
    seconds = length;
    long?.lasts(length);
  };
  const one = typeof channel === "number" ? channel : undefined;
  const decoding = { rate, channel: one, ...(strict && { strict }), onLength };
  const audio = await streamClip(name.file, decoding, sink).catch((error: unknown) => {
    long?.fail();
    throw error;
  });
  if (long) await endLong(long, () => Promise.resolve(audio));
  else {
    const whole = { ...audio, channels: [concatenated(pieces)], sampleRate: rate };
    to.ready(readyClip(transcriber, whole, named(name, channel)));
  }
}

function named(name: LongClipName, channel: ChannelChoice | undefined): LongClipName {
  return typeof channel === "number" ? { ...name, channel } : name;
}

async function beginLong(session: Session, name: LongClipName): Promise<LongClip> {
  const { transcriber, options } = session;
  const { batch = RECORDING_DEFAULTS.batch, segments } = options;
  const run = (clips: readonly PreparedClip[], extra: TranscribeOptions): Promise<readonly Transcription[]> =>
    transcribeAlone(clips, (some) => runClips(transcriber, some, options, extra));
  const maxSeconds = transcriber.maxSeconds(promptOptions(options));
  const detector = segments === undefined ? await session.detector() : undefined;
  return LongClip.begin(
    name,
    transcriber,
    run,
    {
      ...options,
      batch,
      strange: (text) => strangeText(text, options),
      plain: isPlain(options),
      deliver: (transcript) => deliver(transcript, session),
    },
    { detector, maxSeconds },
  );
}

/** Runs a batch; where it fails, each of its clips. */
async function transcribeAlone(
  clips: readonly PreparedClip[],
  run: (clips: readonly PreparedClip[]) => Promise<readonly Transcription[]>,
): Promise<readonly Transcription[]> {
  try {
    return await run(clips);
  } catch (error) {
    if (clips.length === 1) throw error;
    const results: Transcription[] = [];
    for (const clip of clips) results.push(...(await run([clip])));
    return results;
  }
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
  const run = { maxNewTokens, repetitionPenalty, ...extra };
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
