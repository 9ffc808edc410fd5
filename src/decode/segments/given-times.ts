import { FileError } from "../../errors.js";
import { show } from "../../json.js";
import type { GivenSegment } from "./feed.js";

/** A file of segments cannot be used. The message names the place, what was expected and got, and the remedy. */
export class SegmentFileError extends FileError {}

/** Where a segment stands: the file, with the line where it has one, and its path in JSON. */
export interface Place {
  readonly file: string;
  /** Before the name of a field: "" or "segments[2].". */
  readonly path: string;
}

/** A segment as the file has it. */
export interface Entry extends Place {
  /** Seconds, if it is right. */
  readonly start: unknown;
  readonly end: unknown;
  /** Of RTTM, in place of `end`. */
  readonly duration?: number;
  /** What the file calls the recording. */
  readonly recording: string | undefined;
  /** From 1; undefined: the file does not say. */
  readonly channel: number | undefined;
}

const LEAST_MS = 25; // a frame of the front-end
const MOST_SECONDS = 1e7;

export function refusal(
  { file, path }: Place,
  field: string,
  expected: string,
  got: string | number,
  advice: string,
): SegmentFileError {
  const whole = `${path}${field}`.replace(/\.$/, "") || "segment";
  return new SegmentFileError({ file, field: whole, expected, got, advice });
}

/**
 * The segments in the order of their times.
 * @param maxMs  of a segment
 * @throws SegmentFileError  a time that is none, a segment that ends before it begins, is too short
 *                           or too long, or overlaps another
 */
export function inOrder(entries: readonly Entry[], maxMs: number): GivenSegment[] {
  const found = entries.map((entry) => ({ entry, ...timesOf(entry, maxMs) }));
  found.sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
  for (let i = 1; i < found.length; i++) {
    const [{ endMs }, { entry, startMs }] = [found[i - 1], found[i]];
    if (startMs < endMs)
      throw refusal(
        entry,
        "start",
        `a begin from ${endMs / 1000} s on, the end of the segment before it`,
        `${startMs / 1000} s`,
        "let one end where the other begins, or join the two",
      );
  }
  return found.map(({ startMs, endMs, entry }) => ({
    startMs,
    endMs,
    refuse: (audioMs) => {
      const advice =
        startMs >= audioMs ? "remove the segment, or name its recording" : "let it end with the audio";
      throw refusal(entry, "end", `at most the audio's ${audioMs / 1000} s`, endMs / 1000, advice);
    },
  }));
}

function timesOf(entry: Entry, maxMs: number): { startMs: number; endMs: number } {
  const { start, duration } = entry;
  const seconds = (field: string, value: unknown): number => {
    if (typeof value === "number" && value >= 0 && value < MOST_SECONDS) return value;
    throw refusal(
      entry,
      field,
      "seconds from 0",
      show(value),
      "give the time in seconds from the recording's begin",
    );
  };
  const from = seconds("start", start);
  if (duration !== undefined && !(duration > 0))
    throw refusal(entry, "duration", "seconds above 0", duration, "correct it, or remove the segment");
  const to = duration === undefined ? seconds("end", entry.end) : from + duration;
  const [startMs, endMs] = [Math.round(from * 1000), Math.round(seconds("end", to) * 1000)];
  const length = `${(endMs - startMs) / 1000} s`;
  if (to <= from)
    throw refusal(entry, "end", `more than the start, ${from} s`, to, "swap them, or remove the segment");
  if (endMs - startMs < LEAST_MS)
    throw refusal(
      entry,
      "",
      `a length of at least ${LEAST_MS / 1000} s`,
      length,
      "lengthen it, or remove the segment",
    );
  if (endMs - startMs > maxMs)
    throw refusal(
      entry,
      "",
      `a length of at most ${maxMs / 1000} s, which fill the model's positions`,
      length,
      "cut it in two",
    );
  return { startMs, endMs };
}
