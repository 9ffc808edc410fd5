import { CUT_JSON, isObject, jsonFault, show } from "../../json.js";
import type { GivenSegment } from "./feed.js";
import { type Entry, type Place, SegmentFileError, inOrder, refusal } from "./given-times.js";

export { SegmentFileError } from "./given-times.js";

/** Bytes of a file of segments at most: RTTM of a hundred hours takes half of it. */
export const MOST_SEGMENT_BYTES = 16 << 20;

const FORMS =
  "SPEAKER FILE CHANNEL START DURATION ... (RTTM), or JSON with segments of { start, end } in seconds";

/** The segments of a file by the recordings that it names. */
export class SegmentFile {
  /** By what the file calls a recording; undefined: it does not say. */
  readonly #entries = new Map<string | undefined, Entry[]>();

  /**
   * @param file  RTTM or JSON, see parseSegments; UTF-8, or UTF-16 with its mark
   * @param name  of the file, for errors
   * @throws SegmentFileError  neither, or no text
   */
  constructor(
    file: string | Uint8Array,
    private readonly name: string,
  ) {
    const text = (typeof file === "string" ? file : decoded(file, name)).replace(/^\ufeff/, "");
    const add = (entry: Entry): void => {
      const list = this.#entries.get(entry.recording);
      if (list) list.push(entry);
      else this.#entries.set(entry.recording, [entry]);
    };
    if (/^\s*[[{]/.test(text)) readJson(text, name, add);
    else readRttm(text, name, add);
  }

  /**
   * Segments of one recording, in the order of their times.
   * @param recording  path or name of the audio
   * @param maxMs      length of a segment at most
   * @param channel    from 1; segments of other channels are left out. Default: any
   * @throws SegmentFileError  see parseSegments
   */
  of(recording: string, maxMs = Infinity, channel?: number): GivenSegment[] {
    const own = this.#entriesOf(recording);
    const entries = own.filter((entry) => (entry.channel ?? channel) === (channel ?? entry.channel));
    if (entries.length > 0) return inOrder(entries, maxMs);
    const wanted = baseName(recording);
    if (own.length > 0)
      throw new SegmentFileError({
        file: this.name,
        field: "segments",
        expected: `segments of channel ${channel} of ${wanted}`,
        got: `those of channel ${this.channelsOf(recording).slice(0, 3).join(", ")}`,
        advice: "ask for a channel that the file has",
      });
    const names = [...this.#entries.keys()].filter((name) => name !== undefined);
    const others = names.slice(0, 3).map(show).join(", ");
    const got = names.length > 0 ? `those of ${others}${names.length > 3 ? " and others" : ""}` : "none";
    const advice = names.length > 0 ? "name the recording as the file does" : "write one a line";
    throw new SegmentFileError({
      file: this.name,
      field: "segments",
      expected: `segments of ${wanted}`,
      got,
      advice,
    });
  }

  /** Whether the file has segments of a recording. */
  has(recording: string): boolean {
    return this.#entriesOf(recording).length > 0;
  }

  /** The channels that the file names for a recording; none: it names no channel. */
  channelsOf(recording: string): number[] {
    const channels = this.#entriesOf(recording).map(({ channel }) => channel);
    return [...new Set(channels.filter((channel) => channel !== undefined))].sort((a, b) => a - b);
  }

  /** By its name as it stands, else without directories and extension. */
  #entriesOf(recording: string): Entry[] {
    const wanted = baseName(recording);
    const names = [...this.#entries.keys()].filter((name) => name !== undefined);
    const same = names.filter((name) => name === recording || name === wanted);
    const own = same.length > 0 ? same : names.filter((name) => baseName(name) === wanted);
    return [undefined, ...own].flatMap((name) => this.#entries.get(name) ?? []);
  }
}

/**
 * Segments of a recording that a user wrote or edited: RTTM, or JSON as `vad --json` and
 * `transcribe --json` print it, `[{ "start": 0.5, "end": 2 }]` alone, or such objects, one a line.
 * @param file       the text, or the bytes of a file
 * @param name       of the file, for errors
 * @param recording  path or name of the audio; segments of other recordings are left out
 * @param maxMs      length of a segment at most. Default: any
 * @param channel    from 1; segments that the file gives to other channels are left out. Default: any
 * @returns          in the order of their times
 * @throws SegmentFileError  a line that is none of these, a segment that ends before it begins, is
 *                           too short or too long, or overlaps another; no segment
 */
export function parseSegments(
  file: string | Uint8Array,
  name: string,
  recording: string,
  maxMs = Infinity,
  channel?: number,
): GivenSegment[] {
  return new SegmentFile(file, name).of(recording, maxMs, channel);
}

/** The text of a file in UTF-8, or in UTF-16 with its mark. */
function decoded(bytes: Uint8Array, file: string): string {
  const [a, b] = bytes;
  const wide = a === 0xff && b === 0xfe ? "utf-16le" : a === 0xfe && b === 0xff ? "utf-16be" : undefined;
  try {
    const text = new TextDecoder(wide ?? "utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // refused below
  }
  throw new SegmentFileError({
    file,
    field: "text",
    expected: "UTF-8",
    got: "other bytes",
    advice: "save it as UTF-8, or name a file of segments",
  });
}

/** Calls `each` with every line and its number from 1. */
function eachLine(text: string, each: (line: string, number: number) => void): void {
  const ends = /\r\n|\r|\n/g;
  let from = 0;
  for (let number = 1; from <= text.length; number++) {
    const end = ends.exec(text);
    each(text.slice(from, end?.index ?? text.length), number);
    if (!end) return;
    from = ends.lastIndex;
  }
}

/** Types of lines that RTTM has beside SPEAKER. */
const OTHER_TYPES = new Set(
  "SEGMENT NOSCORE NO_RT_METADATA LEXEME NON-LEX NON-SPEECH FILLER EDIT IP SU CB A/P SPKR-INFO".split(" "),
);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** @source NIST, RT-09 evaluation plan, appendix A: SPEAKER FILE CHANNEL START DURATION ... */
function readRttm(text: string, file: string, add: (entry: Entry) => void): void {
  eachLine(text, (line, number) => {
    const fields = line.trim().split(/\s+/, 5);
    if (fields[0] === "" || fields[0].startsWith(";;") || OTHER_TYPES.has(fields[0])) return;
    const place: Place = { file: `${file}:${number}`, path: "" };
    if (fields[0] !== "SPEAKER" || fields.length < 5)
      throw refusal(place, "line", FORMS, show(line.slice(0, 80)), "correct the line, or remove it");
    const [start, duration] = fields.slice(3).map((field, i) => {
      if (NUMBER.test(field)) return Number(field);
      throw refusal(
        place,
        i === 0 ? "start" : "duration",
        "seconds",
        show(field),
        "give it in seconds, as 2.5",
      );
    });
    const channel = /^\d+$/.test(fields[2]) ? Number(fields[2]) : undefined;
    add({ ...place, recording: fields[1], channel, start, end: undefined, duration });
  });
}

/** Segments of JSON, whole or one object a line. */
function readJson(text: string, file: string, add: (entry: Entry) => void): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!readJsonLines(text, file, add)) throw cut(text, file, error);
    return;
  }
  if (!Array.isArray(value)) addValue(value, { file, path: "" }, add);
  else for (const [i, item] of value.entries()) addValue(item, { file, path: `[${i}].` }, add);
}

/** @returns false where the first line is no JSON by itself */
function readJsonLines(text: string, file: string, add: (entry: Entry) => void): boolean {
  let first = true;
  try {
    eachLine(text, (line, number) => {
      if (line.trim() === "") return;
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch (error) {
        if (first) throw notLines;
        throw cut(line, `${file}:${number}`, error);
      }
      first = false;
      addValue(value, { file: `${file}:${number}`, path: "" }, add);
    });
  } catch (error) {
    if (error === notLines) return false;
    throw error;
  }
  return true;
}

const notLines = new Error("no JSON lines");

/** @param where  the file, with the line of `text` where it is one */
function cut(text: string, where: string, error: unknown): SegmentFileError {
  const got = jsonFault(text, error);
  const at = Number(/ at position (\d+)/.exec(got)?.[1]);
  const end = got === CUT_JSON ? text.trimEnd().length : at;
  const line = Number.isNaN(end) ? "" : `:${text.slice(0, end).split(/\r\n|\r|\n/).length}`;
  const file = /:\d+$/.test(where) ? where : `${where}${line}`;
  const advice = "correct it there; JSON has no comments and no comma behind the last value";
  return new SegmentFileError({ file, field: "content", expected: "JSON", got, advice });
}

/** A segment, or an object with segments. */
function addValue(value: unknown, place: Place, add: (entry: Entry) => void): void {
  const form = (at: Place, got: unknown): SegmentFileError =>
    refusal(at, "", '{ "start": SECONDS, "end": SECONDS }', show(got), "write each segment so, or remove it");
  if (!isObject(value)) throw form(place, value);
  const { file: name, segments } = value;
  const recording = typeof name === "string" ? name : undefined;
  const channel = typeof value["channel"] === "number" ? value["channel"] : undefined;
  if (segments === undefined) {
    if (value["error"] !== undefined && value["start"] === undefined) return; // a clip that failed
    add({ ...place, recording, channel, start: value["start"], end: value["end"] });
    return;
  }
  if (!Array.isArray(segments))
    throw refusal(place, "segments", "a list", show(segments), "write [ ... ] there");
  for (const [i, segment] of (segments as unknown[]).entries()) {
    const at = { file: place.file, path: `${place.path}segments[${i}].` };
    if (!isObject(segment)) throw form(at, segment);
    add({ ...at, recording, channel, start: segment["start"], end: segment["end"] });
  }
}

/** A file's name without directories and extension, as RTTM names recordings. */
export function baseName(path: string): string {
  const name = path.split(/[/\\]/).at(-1)!;
  return name.replace(/(?<=.)\.[^.]*$/, "").replaceAll(/\s/g, "_");
}
