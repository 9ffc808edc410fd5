import { type JsonObject, isObject, show } from "../json.js";
import { joinTexts } from "../scripts.js";

/** A part of a recording, in seconds. */
export interface TimeSpan {
  readonly start: number;
  readonly end: number;
}

/** A part of a recording, and the words in it. */
export interface TimedText extends TimeSpan {
  readonly text: string;
}

/** What a reference with times has beside its text. */
export interface Timed {
  /** In the order of time; none is without words. */
  readonly segments?: readonly TimedText[];
  /** What is said there counts nowhere; in the order of time. */
  readonly ignore?: readonly TimeSpan[];
}

/** The longest time of a reference, s. */
export const MOST_SECONDS = 1e7;
/** Spans whose times were rounded may overlap so far, s. */
const ROUNDING = 0.0101;

/** The text of segments: joined without a space between Chinese or Japanese characters. */
export function joinedText(segments: readonly TimedText[]): string {
  return joinTexts(segments.map(({ text }) => text));
}

/**
 * The first span that begins before one before it ends.
 * @param spans  in the order of their starts
 */
export function firstOverlap<T extends TimeSpan>(
  spans: readonly T[],
): { readonly before: T; readonly after: T } | undefined {
  let last: T | undefined;
  for (const after of spans) {
    if (last && after.start < last.end - ROUNDING) return { before: last, after };
    if (!last || after.end > last.end) last = after;
  }
  return undefined;
}

type Refuse = (field: string, expected: string, got: string) => never;

/** A span with its place in the line. */
interface Placed extends TimedText {
  readonly place: string;
}

/**
 * `segments` and `ignore` of a line of JSONL: lists of `{"start", "end", "text"}` and of `{"start",
 * "end"}`, in seconds into the file. null means absent.
 * @param within  the part of the file that the line is about
 */
export function timedOf(json: JsonObject, within: Partial<TimeSpan>, refuse: Refuse): Timed {
  const segments = spansOf(json, "segments", refuse);
  const ignore = spansOf(json, "ignore", refuse);
  const all = [...(segments ?? []), ...(ignore ?? [])].sort((a, b) => a.start - b.start);
  const { start: from = 0, end: to = Infinity } = within;
  for (const { place, start, end } of all)
    if (start < from - ROUNDING || end > to + ROUNDING)
      return refuse(place, `times from the line's start, ${from}, to its end, ${to}`, `${start} to ${end}`);
  const overlap = firstOverlap(all);
  if (overlap) {
    const { before, after } = overlap;
    return refuse(
      `${after.place}.start`,
      `${before.end}, the end of ${before.place}, or more`,
      String(after.start),
    );
  }
  const said = segments?.filter(({ text }) => text !== "").sort((a, b) => a.start - b.start);
  const unsaid = ignore?.sort((a, b) => a.start - b.start);
  return {
    ...(said && { segments: said.map(({ start, end, text }) => ({ start, end, text })) }),
    ...(unsaid && { ignore: unsaid.map(({ start, end }) => ({ start, end })) }),
  };
}

function spansOf(json: JsonObject, field: "segments" | "ignore", refuse: Refuse): Placed[] | undefined {
  const list = json[field] ?? undefined;
  if (list === undefined) return undefined;
  const form = field === "segments" ? '{"start", "end", "text"}' : '{"start", "end"}';
  if (!Array.isArray(list)) return refuse(field, `a list of ${form}`, show(list));
  return list.map((item: unknown, i) => {
    const place = `${field}.${i}`;
    if (!isObject(item)) return refuse(place, form, show(item));
    const { start, end, text = "" } = item;
    if (!isTime(start)) return refuse(`${place}.start`, `seconds from 0 to ${MOST_SECONDS}`, show(start));
    if (!isTime(end)) return refuse(`${place}.end`, `seconds from 0 to ${MOST_SECONDS}`, show(end));
    if (end <= start) return refuse(`${place}.end`, `more than its start, ${start}`, show(end));
    if (field === "ignore") return { place, start, end, text: "" };
    if (typeof text !== "string" || !("text" in item))
      return refuse(`${place}.text`, "a text", show(item.text));
    return { place, start, end, text: text.trim() };
  });
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= MOST_SECONDS;
}

/** Whether two texts have the same characters, white space apart. */
export function sameCharacters(a: string, b: string): boolean {
  return a.replaceAll(/\s+/gu, "") === b.replaceAll(/\s+/gu, "");
}
