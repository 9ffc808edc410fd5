import { FileError } from "../../errors.js";
import { isObject, show } from "../../json.js";
import type { GivenSegment } from "./feed.js";

/** A file of segments that cannot be used: which line, what was expected and what was there. */
export class SegmentFileError extends FileError {}

/** A segment with its line. */
interface Line {
  readonly line: number;
  /** Seconds. */
  readonly start: unknown;
  readonly end: unknown;
  /** What the file calls the recording. */
  readonly recording?: string;
}

const FORM = '{ "start": SECONDS, "end": SECONDS }';
const LEAST_MS = 25; // a frame of the front-end

/**
 * Segments of a recording that a user wrote or edited: RTTM, or JSON as `vad --json` and
 * `transcribe --json` print it, `[{ "start": 0.5, "end": 2 }]` alone, or such objects, one a line.
 * @param text       of the file
 * @param file       its name, for errors
 * @param recording  name of the audio; RTTM and JSON lines of others are left out
 * @param maxMs      length of a segment at most
 * @returns          in the order of their times
 * @throws SegmentFileError  a line that is none of these, a segment that ends before it begins, is
 *                           too short or too long, or overlaps another; no segment
 */
export function parseSegments(text: string, file: string, recording: string, maxMs: number): GivenSegment[] {
  const lines = /^\s*[[{]/.test(text) ? jsonLines(text, file) : rttmLines(text, file);
  const names = new Set(lines.map((line) => line.recording).filter((name) => name !== undefined));
  const own = lines.filter((line) => line.recording === undefined || line.recording === recording);
  if (own.length === 0)
    throw new SegmentFileError({
      file,
      field: "segments",
      expected: `segments of ${recording}`,
      got: names.size > 0 ? `those of ${[...names].slice(0, 3).map(show).join(", ")}` : "none",
    });
  const found = own.map((line) => ({ ...line, ...checked(line, file, maxMs) }));
  found.sort((a, b) => a.startMs - b.startMs);
  for (const [i, { startMs, line }] of found.entries()) {
    const before = found[i - 1] as (typeof found)[number] | undefined;
    if (before && startMs < before.endMs)
      throw refusal(
        file,
        line,
        "segment",
        `a begin after ${before.endMs / 1000} s, the end of the segment before it`,
        `${startMs / 1000} s`,
      );
  }
  return found.map(({ startMs, endMs, line }) => ({
    startMs,
    endMs,
    refuse: (audioMs) => {
      throw refusal(file, line, "end", `at most the audio's ${audioMs / 1000} s`, endMs / 1000);
    },
  }));
}

function refusal(
  file: string,
  line: number,
  field: string,
  expected: string,
  got: string | number,
): SegmentFileError {
  return new SegmentFileError({ file: `${file}:${line}`, field, expected, got });
}

function checked(
  { line, start, end }: Line,
  file: string,
  maxMs: number,
): { startMs: number; endMs: number } {
  for (const [field, value] of [
    ["start", start],
    ["end", end],
  ] as const)
    if (typeof value !== "number" || !(value >= 0 && value < 1e7))
      throw refusal(file, line, field, "seconds from 0", show(value));
  const [startMs, endMs] = [start, end].map((seconds) => Math.round((seconds as number) * 1000));
  if (endMs <= startMs)
    throw refusal(file, line, "end", `more than the start, ${start as number} s`, end as number);
  if (endMs - startMs < LEAST_MS)
    throw refusal(file, line, "length", `at least ${LEAST_MS} ms`, `${endMs - startMs} ms`);
  if (endMs - startMs > maxMs)
    throw refusal(
      file,
      line,
      "length",
      `at most ${maxMs / 1000} s, which fill the model's positions`,
      `${(endMs - startMs) / 1000} s`,
    );
  return { startMs, endMs };
}

/** @source NIST, RT-09 evaluation plan, appendix A: SPEAKER FILE CHANNEL START DURATION ... */
function rttmLines(text: string, file: string): Line[] {
  const found: Line[] = [];
  for (const [i, line] of text.split(/\r\n|\r|\n/).entries()) {
    const fields = line.trim().split(/\s+/);
    if (fields[0] === "" || fields[0].startsWith(";;")) continue;
    if (fields[0] !== "SPEAKER" || fields.length < 5)
      throw refusal(
        file,
        i + 1,
        "line",
        "SPEAKER FILE CHANNEL START DURATION ... (RTTM), or JSON",
        show(line.slice(0, 80)),
      );
    const [start, duration] = fields.slice(3, 5).map(Number);
    if (!(duration > 0)) throw refusal(file, i + 1, "duration", "seconds above 0", fields[4]);
    found.push({ line: i + 1, recording: fields[1], start, end: start + duration });
  }
  return found;
}

/** Segments of JSON, whole or one object a line. */
function jsonLines(text: string, file: string): Line[] {
  const whole = parsed(text);
  const values = whole === undefined ? objectsByLine(text, file) : [{ value: whole, line: 1 }];
  const found: Line[] = [];
  const places = linesOf(text, '"start"');
  for (const { value, line } of values.flatMap(({ value, line }) =>
    Array.isArray(value) ? value.map((v: unknown) => ({ value: v, line })) : [{ value, line }],
  )) {
    if (!isObject(value)) throw refusal(file, line, "segment", FORM, show(value));
    const name = value["file"];
    const segments = value["segments"];
    const list: unknown = segments ?? [value];
    if (!Array.isArray(list)) throw refusal(file, line, "segments", "a list", show(list));
    for (const segment of list as unknown[]) {
      const at = places[found.length] ?? line;
      if (!isObject(segment)) throw refusal(file, at, "segment", FORM, show(segment));
      found.push({
        line: at,
        recording: typeof name === "string" ? baseName(name) : undefined,
        start: segment["start"],
        end: segment["end"],
      });
    }
  }
  return found;
}

function objectsByLine(text: string, file: string): { value: unknown; line: number }[] {
  return text.split(/\r\n|\r|\n/).flatMap((line, i) => {
    if (line.trim() === "") return [];
    const value = parsed(line);
    if (isObject(value)) return [{ value, line: i + 1 }];
    throw refusal(file, i + 1, "line", "JSON", show(line.slice(0, 80)));
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The line of each place where a text stands. */
function linesOf(text: string, mark: string): number[] {
  const lines: number[] = [];
  let [line, from] = [1, 0];
  for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
    line += text.slice(from, at).split("\n").length - 1;
    from = at;
    lines.push(line);
  }
  return lines;
}

/** A file's name without directories and extension, as RTTM names recordings. */
export function baseName(path: string): string {
  const name = path.split(/[/\\]/).at(-1)!;
  return name.replace(/(?<=.)\.[^.]*$/, "").replaceAll(/\s/g, "_");
}
