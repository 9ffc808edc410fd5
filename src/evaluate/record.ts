import type { TimeSpan, TimedText } from "../data/timed-text.js";
import { isObject, show } from "../json.js";
import type { Finish } from "../decode/loop.js";
import type { SegmentFinish } from "../decode/segments/recording.js";
import type { StageSeconds } from "../decode/transcriber.js";
import { EvaluateError } from "./metrics/edits.js";

/** The task, which decides the scores. */
export type Task = "asr" | "st";

/** A word or character that was heard. */
export type HeardWord = TimedText;

/** What was heard in one segment of a recording. */
export interface HeardSegment extends TimedText {
  /** With a CTC head. */
  readonly words?: readonly HeardWord[];
  /** Absent: the answer ended by itself. */
  readonly finish?: SegmentFinish;
  /** Of the CTC head's own text with this one. */
  readonly agreement?: number | undefined;
  /** How often it was decoded again, because its text was doubted. */
  readonly retries?: number;
}

/** An utterance that was run. Its times are those of its whole batch. */
export interface Heard {
  /** Line of the utterance in the data. */
  readonly line: number;
  readonly audio: string;
  readonly start?: number;
  readonly end?: number;
  /** Counted from 1; absent: the mean of all. */
  readonly channel?: number;
  readonly task: Task;
  readonly reference: string;
  /** The reference's times, of those it has: seconds in the file, as of the next three. */
  readonly referenceSegments?: readonly TimedText[];
  /** Words in these parts are left out of the hypothesis. */
  readonly ignore?: readonly TimeSpan[];
  /** Of a clip that was run in segments. */
  readonly segments?: readonly HeardSegment[];
  /** Of a clip that was run whole, where the reference has times and the checkpoint a CTC head. */
  readonly words?: readonly HeardWord[];
  readonly hypothesis: string;
  /** Of a cascade: the transcript that was translated. */
  readonly transcript?: string;
  readonly tokens: number;
  readonly finish: Finish;
  /** Of the CTC head's own text with the hypothesis, 0 to 1; absent: not asked for, or no head. */
  readonly agreement?: number;
  readonly audioSeconds: number;
  /** `vad`: of a clip that was run in segments. */
  readonly seconds: StageSeconds & { readonly vad?: number };
  /** Clips that ran together. */
  readonly batch: number;
  readonly forced?: ForcedRecord;
  /** Faults of the audio, and an answer in another script than the one asked for; absent: none. */
  readonly warnings?: readonly string[];
}

/** The reference answer under forced decoding. */
export interface ForcedRecord {
  /** Tokens of the answer, its end among them. */
  readonly ids: readonly number[];
  /** The likeliest token at each. */
  readonly tops: readonly number[];
  readonly logProbability: number;
}

/** An utterance that could not be run, and why, in one line. */
export interface Failed extends Pick<
  Heard,
  "line" | "audio" | "start" | "end" | "channel" | "task" | "reference"
> {
  readonly error: string;
}

export type UtteranceRecord = Heard | Failed;

export function isFailed(record: UtteranceRecord): record is Failed {
  return "error" in record;
}

/**
 * Records of a JSONL text; of one utterance run several times the last. A last line without its
 * end, which an interrupted run leaves behind, is skipped.
 * @throws EvaluateError  a line that is no record
 */
export function parseRecords(text: string, file: string): Map<number, UtteranceRecord> {
  const records = new Map<number, UtteranceRecord>();
  const lines = text.split("\n").slice(0, -1);
  for (const [i, line] of lines.entries()) {
    const record = parseRecord(line, `${file}:${i + 1}`);
    records.set(record.line, record);
  }
  return records;
}

const stages = ["frontend", "encoder", "adaptor", "prefill", "decode"];

function parseRecord(text: string, where: string): UtteranceRecord {
  const refuse = (field: string, expected: string, got: unknown): never => {
    throw new EvaluateError(
      `${where}: ${field}: expected ${expected}, got ${show(got)}; name a file that evaluate --out wrote`,
    );
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return refuse("line", "JSON", text);
  }
  if (!isObject(json)) return refuse("line", "an object", json);
  const failed = typeof json.error === "string";
  const kinds: Record<string, (value: unknown) => boolean> = {
    line: Number.isSafeInteger,
    audio: isString,
    task: (value) => value === "asr" || value === "st",
    reference: isString,
    ...(failed ? {} : heardFields),
    ...(failed ? {} : timedFields(json)),
  };
  for (const [field, is] of Object.entries(kinds)) {
    if (!is(json[field])) refuse(field, "a value of an utterance's record", json[field]);
  }
  return json as unknown as UtteranceRecord;
}

/** Checks of the fields with times that a record has. */
function timedFields(json: Readonly<Record<string, unknown>>): Record<string, (value: unknown) => boolean> {
  const spans = (value: unknown): boolean => Array.isArray(value) && value.every(isSpan);
  const texts = (value: unknown): boolean => spans(value) && (value as TimedText[]).every(isTimedText);
  const fields = { referenceSegments: texts, ignore: spans, segments: texts, words: texts };
  return Object.fromEntries(Object.entries(fields).filter(([field]) => json[field] !== undefined));
}

function isSpan(value: unknown): boolean {
  return isObject(value) && Number.isFinite(value.start) && Number.isFinite(value.end);
}

function isTimedText({ text, words }: TimedText & { readonly words?: unknown }): boolean {
  if (typeof text !== "string") return false;
  return (
    words === undefined ||
    (Array.isArray(words) && words.every((word) => isSpan(word) && isString((word as TimedText).text)))
  );
}

const isString = (value: unknown): boolean => typeof value === "string";

const heardFields: Record<string, (value: unknown) => boolean> = {
  hypothesis: isString,
  tokens: Number.isSafeInteger,
  finish: isString,
  audioSeconds: Number.isFinite,
  batch: Number.isSafeInteger,
  seconds: (value) => isObject(value) && stages.every((stage) => Number.isFinite(value[stage])),
};
