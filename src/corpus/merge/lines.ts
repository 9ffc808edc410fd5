import { scriptWarning } from "../../decode/language-warnings.js";
import { WHOLE_SECONDS } from "../../decode/segments/transcribe-recording.js";
import { unspaced } from "../../scripts.js";
import type { Item, ResultRecord, ResultSegment } from "../item.js";

/** What is kept of a corpus. */
export interface Filters {
  /** Least agreement with the CTC head's text; lines without any are left out. */
  readonly minAgreement?: number;
  /** Words a second; a Chinese or Japanese character, or one without spaces around it, is a word. */
  readonly minRate?: number;
  readonly maxRate?: number;
  /** Texts in the script of another language are left out. */
  readonly language?: string;
}

/** Why a record or a segment was left out. */
export type Reason = "failed" | "empty" | "cut" | "agreement" | "rate" | "language" | "audio";

/** An utterance of an output: a whole record, or a segment of a long one. */
export interface OutputLine {
  /** Unique, and in the order of the corpus. */
  readonly name: string;
  /** Where its audio is; times only where it is a part. */
  readonly audio: Pick<Item, "audio" | "member" | "start" | "end" | "channel">;
  readonly seconds: number;
  readonly text: string;
  readonly record: ResultRecord;
}

/** A record as utterances for training: itself, or its segments where it is long. */
export function outputLines(
  record: ResultRecord,
  member: Item["member"],
  filters: Filters,
  onDrop: (reason: Reason) => void,
): OutputLine[] {
  const { index, audio, start, end, channel, seconds, segments, error } = record;
  if (error) {
    onDrop("failed");
    return [];
  }
  const place = { audio, ...(member && { member }), ...(channel !== undefined && { channel }) };
  const times = { ...(start !== undefined && { start }), ...(end !== undefined && { end }) };
  const isWhole = segments.length <= 1 && seconds <= WHOLE_SECONDS;
  const parts = isWhole
    ? [{ place: { ...place, ...times }, segment: segments.at(0), seconds }]
    : segments.map((segment) => ({
        place: { ...place, start: segment.start, end: segment.end },
        segment,
        seconds: segment.end - segment.start,
      }));
  if (parts.length === 0) onDrop("empty");
  return parts.flatMap((part, i): OutputLine[] => {
    const reason = reasonAgainst(part.segment, part.seconds, filters);
    if (reason !== undefined || !part.segment) {
      onDrop(reason ?? "empty");
      return [];
    }
    const number = String(index).padStart(9, "0");
    const name = isWhole ? number : `${number}-${String(i).padStart(4, "0")}`;
    return [{ name, audio: part.place, seconds: part.seconds, text: part.segment.text, record }];
  });
}

/** Whether a record passes, as a whole; undefined where it does. */
export function reasonAgainstRecord(record: ResultRecord, filters: Filters): Reason | undefined {
  if (record.error) return "failed";
  const { text, agreement, seconds } = record;
  const whole = { start: 0, end: seconds, text, ...(agreement !== undefined && { agreement }) };
  return reasonAgainst(whole, seconds, filters);
}

function reasonAgainst(
  segment: ResultSegment | undefined,
  seconds: number,
  { minAgreement, minRate, maxRate, language }: Filters,
): Reason | undefined {
  if (!segment || segment.text === "") return "empty";
  if (segment.finish !== undefined) return "cut";
  if (minAgreement !== undefined && !((segment.agreement ?? 0) >= minAgreement)) return "agreement";
  const rate = wordsIn(segment.text) / Math.max(seconds, 0.01);
  if (rate < (minRate ?? 0) || rate > (maxRate ?? Infinity)) return "rate";
  return scriptWarning(segment.text, language) === undefined ? undefined : "language";
}

/** Words of a text; a character of a script without spaces is one. */
export function wordsIn(text: string): number {
  let [words, open] = [0, false];
  for (const character of text) {
    const isLetter = /[\p{L}\p{N}\p{M}'’-]/u.test(character);
    const isAlone = isLetter && unspaced.test(character);
    if (isAlone || (isLetter && !open)) words++;
    open = isLetter && !isAlone;
  }
  return words;
}
