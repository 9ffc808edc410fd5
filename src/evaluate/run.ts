import type { Utterance } from "../data/utterances.js";
import type { PreparedClip, TranscribeOptions, Transcriber, Transcription } from "../decode/transcriber.js";
import { scriptWarning, translationWarning } from "../decode/language-warnings.js";
import { type TargetLanguage, type Translation, translate, translationPrompt } from "../decode/translator.js";
import type { VoiceActivityDetector } from "../decode/vad/detector.js";
import type { DecodedAudio } from "../frontend/audio.js";
import { cutAudio } from "../frontend/cut.js";
import type { Gpu } from "../gpu/device.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import type { Language } from "../tokenizer/languages.js";
import { forceClips } from "./forced-clips.js";
import { withoutIgnored } from "./recordings/ignored.js";
import { type LongAudio, type RecordingSettings, hearRecording } from "./recordings/run-recording.js";
import { type Failed, type Heard, type Task, type UtteranceRecord, isFailed } from "./record.js";
import { type Spread, spread } from "./statistics.js";

/** The task and its settings. */
export interface RunSettings {
  readonly task: Task;
  /** Language of translations. */
  readonly to?: TargetLanguage;
  readonly cascade?: boolean;
  /** Language that is spoken; default: the model finds out. */
  readonly language?: Language;
  /** Clips that run together; only neighbours with one prompt do. */
  readonly batch: number;
  readonly maxNewTokens?: number;
  /** Score the references under forced decoding too. */
  readonly forced?: boolean;
  /** Compare each answer with the CTC head's own text. */
  readonly agreement?: boolean;
}

export interface RunTools {
  readonly read: (utterance: Utterance) => Promise<DecodedAudio | LongAudio>;
  readonly recordings: RecordingRun;
  /** Called with a warning about an utterance's audio, such as channels that cancel each other. */
  readonly warn: (utterance: Utterance, warning: string) => void;
  /** One line for the record of an utterance that failed. */
  readonly describe: (error: unknown, utterance: Utterance) => string;
  /** Called with each record when it is complete, in the order of a batch's utterances. */
  readonly onRecord: (record: UtteranceRecord) => void;
  /**
   * Ends the run before its next step, with the signal's reason; the clips that were under way have
   * no record.
   */
  readonly signal?: AbortSignal | undefined;
}

/** What runs audio that is too long to be run whole. */
export interface RecordingRun {
  readonly detector: () => Promise<VoiceActivityDetector>;
  readonly settings: RecordingSettings;
  /** Called with the seconds of a recording that are done. */
  readonly onProgress?: (utterance: Utterance, seconds: number) => void;
}

interface Ready {
  readonly utterance: Utterance;
  readonly clip: PreparedClip;
  /** Faults of its audio. */
  readonly warnings: readonly string[];
}

/** Bytes at their highest, seen at each stage. */
export class MemoryPeak {
  gpu = 0;
  resident = 0;

  constructor(
    private readonly device: Gpu,
    private readonly residentBytes: () => number,
  ) {}

  see = (): void => {
    this.gpu = Math.max(this.gpu, this.device.bytes.reserved);
    this.resident = Math.max(this.resident, this.residentBytes());
  };
}

/**
 * Runs utterances in batches; long audio by itself, behind its batch. One that cannot be run is recorded as failed; the others are run.
 * @throws GpuError  the device is lost; the signal's reason
 */
export async function runUtterances(
  transcriber: Transcriber,
  utterances: readonly Utterance[],
  settings: RunSettings,
  tools: RunTools,
  memory: MemoryPeak,
): Promise<void> {
  for (const batch of batches(utterances, settings)) {
    const ready: Ready[] = [];
    const long: { readonly utterance: Utterance; readonly audio: LongAudio }[] = [];
    for (const utterance of batch) {
      tools.signal?.throwIfAborted();
      try {
        const read = await tools.read(utterance);
        if ("stream" in read) {
          long.push({ utterance, audio: read });
          continue;
        }
        const audio = cutAudio(read, utterance, utterance.audio);
        const clip = transcriber.prepare(audio, utterance.audio);
        const warnings = [audio.damage, clip.warning].filter((text) => text !== undefined);
        for (const text of warnings) tools.warn(utterance, text);
        ready.push({ utterance, clip, warnings });
      } catch (error) {
        tools.signal?.throwIfAborted();
        tools.onRecord(failed(utterance, settings.task, tools.describe(error, utterance)));
      }
    }
    await runBatch(transcriber, ready, settings, tools, memory);
    for (const { utterance, audio } of long)
      await runLong(transcriber, utterance, audio, { settings, tools, memory });
  }
}

/** Neighbours with one prompt, `settings.batch` at most. */
function batches(utterances: readonly Utterance[], { batch }: RunSettings): Utterance[][] {
  const all: Utterance[][] = [];
  for (const utterance of utterances) {
    const last = all.at(-1);
    if (last && last.length < batch && last[0].prompt === utterance.prompt) last.push(utterance);
    else all.push([utterance]);
  }
  return all;
}

/** A batch that fails is run again clip by clip. */
async function runBatch(
  transcriber: Transcriber,
  ready: readonly Ready[],
  settings: RunSettings,
  tools: RunTools,
  memory: MemoryPeak,
): Promise<void> {
  if (ready.length === 0) return;
  let records: readonly UtteranceRecord[];
  try {
    records = await hear(transcriber, ready, settings, tools, memory);
  } catch (error) {
    tools.signal?.throwIfAborted();
    if (transcriber.gpu.lost) throw error;
    if (ready.length > 1) {
      for (const one of ready) await runBatch(transcriber, [one], settings, tools, memory);
      return;
    }
    const [{ utterance }] = ready;
    records = [failed(utterance, settings.task, tools.describe(error, utterance))];
  }
  // A record that cannot be written is no fault of the clip.
  for (const [i, record] of records.entries())
    deliver(record, ready[i].utterance, ready[i].warnings, { settings, tools });
}

/** Hands a record out, with its warnings. */
function deliver(
  record: UtteranceRecord,
  utterance: Utterance,
  faults: readonly string[],
  { settings, tools }: { readonly settings: RunSettings; readonly tools: RunTools },
): void {
  const strange = isFailed(record) ? undefined : strangeAnswer(record, utterance, settings);
  if (strange !== undefined) tools.warn(utterance, strange);
  const warnings = strange === undefined ? faults : [...faults, strange];
  tools.onRecord(warnings.length === 0 ? record : { ...record, warnings });
}

/** Runs audio of any length in segments. */
async function runLong(
  transcriber: Transcriber,
  utterance: Utterance,
  audio: LongAudio,
  { settings, tools, memory }: { settings: RunSettings; tools: RunTools; memory: MemoryPeak },
): Promise<void> {
  const { signal, recordings } = tools;
  let record: UtteranceRecord;
  let faults: readonly string[] = [];
  try {
    signal?.throwIfAborted();
    const asked = promptOf(utterance, settings);
    const { warnings, ...heard } = await hearRecording(transcriber, utterance, audio, {
      detector: await recordings.detector(),
      settings: recordings.settings,
      maxSeconds: transcriber.maxSeconds(asked),
      run: (clips, options) =>
        answerClips(transcriber, clips, asked, settings, {
          onStage: memory.see,
          signal,
          ...options,
          wordTimes: true,
        }),
      agreement: settings.agreement === true,
      onProgress: (seconds) => recordings.onProgress?.(utterance, seconds),
      signal,
    });
    memory.see();
    for (const text of warnings) tools.warn(utterance, text);
    faults = warnings;
    record = { ...placeOf(utterance, settings.task), ...heard };
  } catch (error) {
    signal?.throwIfAborted();
    if (transcriber.gpu.lost) throw error;
    record = failed(utterance, settings.task, tools.describe(error, utterance));
  }
  deliver(record, utterance, faults, { settings, tools });
}

/** Answers to clips, as the task asks. */
function answerClips(
  transcriber: Transcriber,
  clips: readonly PreparedClip[],
  asked: PromptOptions,
  { task, to, cascade, language, maxNewTokens }: RunSettings,
  options: TranscribeOptions,
): Promise<readonly (Translation | Transcription)[]> {
  return task === "st" && to !== undefined && cascade
    ? translate(transcriber, clips, { maxNewTokens, ...options, to, cascade, language })
    : transcriber.transcribe(clips, { maxNewTokens, ...options, ...asked });
}

/** Why an answer is not in the language asked for; a line's own prompt may ask for any. */
function strangeAnswer(
  { hypothesis }: Heard,
  { prompt }: Utterance,
  { task, to, language }: RunSettings,
): string | undefined {
  if (task === "st" && to !== undefined) return translationWarning(hypothesis, to);
  return prompt === undefined ? scriptWarning(hypothesis, language) : undefined;
}

async function hear(
  transcriber: Transcriber,
  ready: readonly Ready[],
  settings: RunSettings,
  { signal }: RunTools,
  memory: MemoryPeak,
): Promise<Heard[]> {
  const clips = ready.map(({ clip }) => clip);
  const asked = promptOf(ready[0].utterance, settings);
  const timed = ready.some(
    ({ utterance: { segments, ignore } }) => segments !== undefined || ignore !== undefined,
  );
  const options = { onStage: memory.see, signal, wordTimes: settings.agreement === true || timed };
  const results: readonly Translation[] = await answerClips(transcriber, clips, asked, settings, options);
  memory.see();
  const references = ready.map(({ utterance }) => utterance.text);
  const forced = settings.forced
    ? await forceClips(transcriber, clips, references, { ...asked, signal })
    : undefined;
  memory.see();
  return results.map((result, i) => ({
    ...placeOf(ready[i].utterance, settings.task),
    ...heardText(ready[i].utterance, result),
    ...(result.transcript === undefined ? {} : { transcript: result.transcript }),
    tokens: result.tokenIds.length,
    finish: result.finish,
    ...(settings.agreement && result.agreement !== undefined && { agreement: result.agreement }),
    audioSeconds: result.audioSeconds,
    seconds: result.seconds,
    batch: ready.length,
    ...(forced ? { forced: forced[i] } : {}),
  }));
}

/** The text of a clip that was run whole; where its reference has times, its words too. */
function heardText(
  { start = 0, segments, ignore = [] }: Utterance,
  { text, words, audioSeconds }: Transcription,
): Pick<Heard, "hypothesis" | "words"> {
  if (!segments && ignore.length === 0) return { hypothesis: text };
  const at = (time: number): number => Math.round((time + start) * 1000) / 1000;
  const timed = words?.map((word) => ({ text: word.text, start: at(word.start), end: at(word.end) }));
  const whole = { start, end: start + audioSeconds, text, ...(timed && { words: timed }) };
  const [kept] = withoutIgnored([whole], ignore);
  return { hypothesis: kept?.text ?? "", ...(kept?.words && { words: kept.words }) };
}

/** The utterance's own words, else those of the task. */
export function promptOf({ prompt }: Utterance, { task, to, language }: RunSettings): PromptOptions {
  if (prompt !== undefined) return { prompt };
  if (task === "st" && to !== undefined) return { prompt: translationPrompt(to) };
  return language === undefined ? {} : { language };
}

function placeOf(
  { line, audio, start, end, channel, text, segments, ignore }: Utterance,
  task: Task,
): Pick<
  Heard,
  "line" | "audio" | "start" | "end" | "channel" | "task" | "reference" | "referenceSegments" | "ignore"
> {
  return {
    line,
    audio,
    ...(start === undefined ? {} : { start }),
    ...(end === undefined ? {} : { end }),
    ...(channel === undefined ? {} : { channel }),
    task,
    reference: text,
    ...(segments && { referenceSegments: segments }),
    ...(ignore && { ignore }),
  };
}

function failed(utterance: Utterance, task: Task, error: string): Failed {
  return { ...placeOf(utterance, task), error };
}

/** Cost of one second of audio, over several rounds. */
export interface SecondOfAudio {
  readonly firstToken: Spread;
  readonly total: Spread;
  /** New tokens of a round. */
  readonly tokens: number;
}

const warmUpTokens = 2;

/**
 * Runs a short clip once, so that no clip's time includes the making of pipelines.
 * @returns seconds
 */
export async function warmUp(
  transcriber: Transcriber,
  second: DecodedAudio,
  signal?: AbortSignal,
): Promise<number> {
  const start = performance.now();
  const clip = transcriber.prepare(second, "warm-up");
  await transcriber.transcribe([clip], { maxNewTokens: warmUpTokens, signal });
  return (performance.now() - start) / 1000;
}

/** Times one second of audio from samples to text. @param rounds  1 or more */
export async function timeSecond(
  transcriber: Transcriber,
  second: DecodedAudio,
  rounds: number,
  settings: Pick<TranscribeOptions, "maxNewTokens" | "language" | "signal">,
): Promise<SecondOfAudio> {
  const first: number[] = [];
  const total: number[] = [];
  let tokens = 0;
  for (let i = 0; i < rounds; i++) {
    const clip = transcriber.prepare(second, "one second");
    const [{ seconds: s, tokenIds }] = await transcriber.transcribe([clip], settings);
    first.push(s.frontend + s.encoder + s.adaptor + s.prefill);
    total.push(first[i] + s.decode);
    tokens = tokenIds.length;
  }
  return { firstToken: spread(first), total: spread(total), tokens };
}
