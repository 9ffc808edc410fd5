import { noHead } from "../../checkpoint/ctc.js";
import { loadTranscriber } from "../../decode/load.js";
import type { Transcriber } from "../../decode/transcriber.js";
import { type UtteranceRecord, isFailed } from "../../evaluate/record.js";
import type { FormatResult, Measured } from "../../evaluate/report.js";
import {
  MemoryPeak,
  type RunSettings,
  promptOf,
  runUtterances,
  timeSecond,
  warmUp,
} from "../../evaluate/run.js";
import { type SummaryOptions, forcedAgreement, summarize } from "../../evaluate/summary.js";
import { languageWarning } from "../../decode/language-warnings.js";
import { uniformNumbers } from "../../random.js";
import type { Utterance } from "../../data/utterances.js";
import type { VoiceActivityDetector } from "../../decode/vad/detector.js";
import { WHOLE_SECONDS, wholeSeconds } from "../../decode/segments/transcribe-recording.js";
import type { RecordingSettings } from "../../evaluate/recordings/run-recording.js";
import type { DecodedAudio } from "../../frontend/audio.js";
import { cutAudio } from "../../frontend/cut.js";
import type { Gpu } from "../../gpu/device.js";
import type { WeightFormat } from "../../gpu/matrix.js";
import { decodeClip } from "../../node/clip.js";
import type { Results } from "../../evaluate/results.js";
import { describe, exitCode, note, report, shown, status, withBar } from "../output.js";
import { wavDataUri } from "../../report/wav.js";
import { warnOf } from "../model.js";
import { loadVad } from "../vad-model.js";
import { firstSeconds, mayBeLong, readAudio } from "./audio.js";

/** The work for each weight format. */
export interface Plan extends Pick<SummaryOptions, "tokenizer" | "seed" | "form"> {
  readonly model: string;
  readonly lora?: readonly string[];
  readonly settings: RunSettings;
  readonly utterances: readonly Utterance[];
  /** Rounds over one second of audio. */
  readonly second: number;
  /** Channel of lines that name none, counted from 1; absent: the mean of all. */
  readonly channel?: number;
  readonly strict?: boolean;
  /** See Reading. */
  readonly vad?: string | undefined;
  readonly recordings: RecordingSettings;
  readonly debug?: boolean;
}

export interface FormatRun {
  readonly result: FormatResult;
  readonly records: ReadonlyMap<number, UtteranceRecord>;
}

/** Runs the utterances that are left with each weight format in turn, and summarises all. */
export async function runFormats(
  gpu: Gpu,
  formats: readonly (WeightFormat | undefined)[],
  plan: Plan,
  results: Results,
): Promise<FormatRun[]> {
  const runs: FormatRun[] = [];
  for (const weights of formats) {
    const label = weights ?? "stored";
    const records = results.done(label);
    for (const line of records.keys())
      if (!plan.utterances.some((utterance) => utterance.line === line)) records.delete(line);
    const left = plan.utterances.filter(({ line }) => !records.has(line));
    if (records.size > 0) note(`${label}: ${records.size} of ${plan.utterances.length} utterances are done`);
    let measured = results.measured(label);
    if (left.length > 0 || measured === undefined) {
      measured = await runFormat(gpu, weights, { ...plan, utterances: left }, records, results);
      await results.measure(label, measured);
    }
    const { settings, tokenizer, seed, form } = plan;
    const summary = summarize([...records.values()], {
      task: settings.task,
      to: settings.to,
      tokenizer,
      seed,
      form,
    });
    const agreement = settings.forced ? forcedAgreement(runs[0]?.records ?? records, records) : undefined;
    const result = { weights: label, measured, summary, agreesWithFirst: agreement };
    runs.push({ result, records });
    if ([...records.values()].some(isFailed)) process.exitCode = exitCode.inputFailed;
  }
  return runs;
}

const noAgreement = "--agreement: the checkpoint has no CTC head: there is no agreement";

async function runFormat(
  gpu: Gpu,
  weights: WeightFormat | undefined,
  plan: Plan,
  records: Map<number, UtteranceRecord>,
  results: Results,
): Promise<Measured> {
  const label = weights ?? "stored";
  const before = results.measured(label);
  const memory = new MemoryPeak(gpu, () => process.memoryUsage.rss());
  const kept = gpu.bytes.kept;
  const wordTimes = plan.settings.agreement === true || ((await needsHead(plan)) && "optional");
  const start = performance.now();
  const transcriber = await withBar("loading", (onProgress) =>
    loadTranscriber(gpu, plan.model, {
      weights,
      lora: plan.lora,
      wordTimes,
      onProgress,
    }),
  );
  const unknown = languageWarning(plan.settings.language, transcriber.languages);
  const noted = transcriber.warnings.map((text) => (text === noHead ? noAgreement : text));
  const warnings = [...noted, ...(unknown === undefined ? [] : [unknown])];
  warnOf(warnings);
  try {
    const loadSeconds = (performance.now() - start) / 1000;
    const weightBytes = gpu.bytes.kept - kept;
    memory.see();
    const one = await secondOf(plan.utterances);
    const warmUpSeconds = await warmUp(transcriber, one);
    const second =
      before?.second ??
      (plan.second > 0 ? await timeSecond(transcriber, one, plan.second, plan.settings) : undefined);
    memory.see();
    await runLeft(transcriber, plan, records, { label, results, memory });
    return {
      weightBytes,
      loadSeconds,
      warmUpSeconds,
      gpuPeakBytes: Math.max(memory.gpu, before?.gpuPeakBytes ?? 0),
      residentPeakBytes: Math.max(memory.resident, before?.residentPeakBytes ?? 0),
      second,
      ...(warnings.length > 0 && { warnings }),
    };
  } finally {
    status("");
    transcriber.free();
    gpu.trim();
  }
}

/** Whether the CTC head is asked for: by references with times, and to check segments of long audio. */
async function needsHead({ utterances, settings, vad }: Plan): Promise<boolean> {
  const timed = ({ segments, ignore }: Utterance): boolean => segments !== undefined || ignore !== undefined;
  if (utterances.some(timed)) return true;
  if (settings.task === "st" || vad === "off") return false;
  if (vad !== undefined) return true;
  for (const utterance of utterances) if (await mayBeLong(utterance)) return true;
  return false;
}

async function runLeft(
  transcriber: Transcriber,
  { utterances, settings, channel, strict, vad, recordings, debug }: Plan,
  records: Map<number, UtteranceRecord>,
  { label, results, memory }: { label: string; results: Results; memory: MemoryPeak },
): Promise<void> {
  let done = 0;
  let detector: Promise<VoiceActivityDetector> | undefined;
  const place = (): string => `${label}: ${done} of ${utterances.length}`;
  await runUtterances(
    transcriber,
    utterances,
    settings,
    {
      read: (utterance) => {
        const maxSeconds = transcriber.maxSeconds(promptOf(utterance, settings));
        const whole = wholeSeconds(transcriber.model.config, maxSeconds);
        const length = { maxSeconds, wholeSeconds: whole };
        return readAudio(utterance, { rate: transcriber.sampleRate, ...length, channel, strict, vad });
      },
      recordings: {
        detector: () => (detector ??= loadVad(transcriber.gpu, vad)),
        settings: recordings,
        onProgress: ({ audio }, seconds) => status(`${place()}; ${shown(audio)}: ${seconds.toFixed(0)} s`),
      },
      warn,
      describe: (error, { audio }) => {
        report(error, debug === true, audio);
        return describe(error, audio);
      },
      onRecord: (record) => {
        records.set(record.line, record);
        results.append(label, record);
        done++;
        status(place());
      },
    },
    memory,
  ).finally(async () => (await detector?.catch(() => undefined))?.free());
}

function warn({ audio }: Utterance, warning: string): void {
  note(`warning: ${shown(audio)}: ${warning}`);
}

const playedSeconds = 20;
const playedRate = 16_000;

/**
 * An utterance's audio as a data: URI, 20 s at most.
 * @throws AudioError  it cannot be read any more
 */
export async function playable(
  utterance: Pick<Utterance, "audio" | "start" | "end" | "channel">,
): Promise<string> {
  return wavDataUri(await firstSeconds(utterance, playedRate, playedSeconds), playedRate);
}

/** The middle second of the first short clip that has one, else a second of faint seeded noise. */
async function secondOf(utterances: readonly Utterance[]): Promise<DecodedAudio> {
  for (const utterance of utterances.slice(0, 5)) {
    try {
      const whole = utterance.start === undefined && utterance.end === undefined;
      const audio = cutAudio(
        await decodeClip(utterance.audio, whole ? { maxSeconds: WHOLE_SECONDS } : {}),
        utterance,
      );
      const seconds = audio.channels[0].length / audio.sampleRate;
      if (seconds >= 1) return cutAudio(audio, { start: seconds / 2 - 0.5, end: seconds / 2 + 0.5 });
    } catch {
      continue; // it is reported when its turn comes
    }
  }
  const next = uniformNumbers(1);
  return {
    channels: [Float32Array.from({ length: 16_000 }, () => 0.02 * (next() - 0.5))],
    sampleRate: 16_000,
  };
}
