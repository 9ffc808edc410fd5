import type { Utterance } from "../data/utterances.js";
import type { PreparedClip, TranscribeOptions, Transcriber } from "../decode/transcriber.js";
import { scriptWarning, translationWarning } from "../decode/language-warnings.js";
import { type TargetLanguage, type Translation, translate, translationPrompt } from "../decode/translator.js";
import type { DecodedAudio } from "../frontend/audio.js";
import { cutAudio } from "../frontend/cut.js";
import type { Gpu } from "../gpu/device.js";
import type { PromptOptions } from "../tokenizer/prompt.js";
import type { Language } from "../tokenizer/languages.js";
import { forceClips } from "./forced-clips.js";
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
  readonly read: (utterance: Utterance) => Promise<DecodedAudio>;
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
 * Runs utterances in batches. One that cannot be run is recorded as failed; the others are run.
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
    for (const utterance of batch) {
      tools.signal?.throwIfAborted();
      try {
        const audio = cutAudio(await tools.read(utterance), utterance, utterance.audio);
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
  for (const [i, record] of records.entries()) {
    const strange = isFailed(record) ? undefined : strangeAnswer(record, ready[i].utterance, settings);
    if (strange !== undefined) tools.warn(ready[i].utterance, strange);
    const warnings = strange === undefined ? ready[i].warnings : [...ready[i].warnings, strange];
    // A record that cannot be written is no fault of the clip.
    tools.onRecord(warnings.length === 0 ? record : { ...record, warnings });
  }
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
  const { task, to, cascade, language, maxNewTokens } = settings;
  const clips = ready.map(({ clip }) => clip);
  const options = { maxNewTokens, onStage: memory.see, signal };
  const asked = promptOf(ready[0].utterance, settings);
  const results: readonly Translation[] = await (task === "st" && to !== undefined && cascade
    ? translate(transcriber, clips, { ...options, to, cascade, language })
    : transcriber.transcribe(clips, { ...options, ...asked }));
  memory.see();
  const references = ready.map(({ utterance }) => utterance.text);
  const forced = settings.forced
    ? await forceClips(transcriber, clips, references, { ...asked, signal })
    : undefined;
  memory.see();
  return results.map((result, i) => ({
    ...placeOf(ready[i].utterance, task),
    hypothesis: result.text,
    ...(result.transcript === undefined ? {} : { transcript: result.transcript }),
    tokens: result.tokenIds.length,
    finish: result.finish,
    ...(result.agreement === undefined ? {} : { agreement: result.agreement }),
    audioSeconds: result.audioSeconds,
    seconds: result.seconds,
    batch: ready.length,
    ...(forced ? { forced: forced[i] } : {}),
  }));
}

/** The utterance's own words, else those of the task. */
export function promptOf({ prompt }: Utterance, { task, to, language }: RunSettings): PromptOptions {
  if (prompt !== undefined) return { prompt };
  if (task === "st" && to !== undefined) return { prompt: translationPrompt(to) };
  return language === undefined ? {} : { language };
}

function placeOf(
  { line, audio, start, end, channel, text }: Utterance,
  task: Task,
): Pick<Heard, "line" | "audio" | "start" | "end" | "channel" | "task" | "reference"> {
  return {
    line,
    audio,
    ...(start === undefined ? {} : { start }),
    ...(end === undefined ? {} : { end }),
    ...(channel === undefined ? {} : { channel }),
    task,
    reference: text,
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
