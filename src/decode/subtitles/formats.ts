import { type Cue, type CueOptions, type CuePart, cuesOf, lineText } from "./cues.js";
import type { TimedSegment } from "./segment.js";

/** A form of subtitles, by the ending of its files. */
export type SubtitleFormat = "srt" | "vtt" | "tsv" | "lrc" | "txt";

export interface SubtitleOptions extends CueOptions {
  /** Times of words within the cues of VTT and LRC. Default: false. */
  readonly wordTimes?: boolean;
}

/**
 * A transcript as the text of a file.
 * - srt, vtt: cues (see cuesOf); `-->` in a text becomes `->`
 * - lrc: a line a cue, as whisper.cpp's `-olrc`
 * - tsv: a line a segment, `start end text`, milliseconds, as openai-whisper's
 * - txt: a line a segment
 * @param segments  in the order of their times, in seconds
 * @throws ArgumentError  a width or a count of lines out of range
 */
export function subtitles(
  segments: readonly TimedSegment[],
  format: SubtitleFormat,
  options: SubtitleOptions = {},
): string {
  switch (format) {
    case "srt":
      return srt(cuesOf(segments, options));
    case "vtt":
      return vtt(cuesOf(segments, options), options.wordTimes === true);
    case "lrc":
      return lrc(cuesOf(segments, options), options.wordTimes === true);
    case "tsv":
      return tsv(segments);
    case "txt":
      return linesOf(segments.map(({ text }) => flatText(text)).filter((text) => text !== ""));
  }
}

/** @source SubRip: an index from 1, times with a comma, text, an empty line */
function srt(cues: readonly Cue[]): string {
  const blocks = cues.map(({ start, end, lines }, i) => {
    const [from, to] = span(start, end).map((ms) => clockTime(ms, ","));
    return `${i + 1}\n${from} --> ${to}\n${lines.map(lineText).join("\n")}\n`;
  });
  return blocks.join("\n");
}

/** @source W3C WebVTT; times of words are cue timestamps, which lie within their cue and rise */
function vtt(cues: readonly Cue[], wordTimes: boolean): string {
  const blocks = cues.map(({ start, end, lines }) => {
    const [from, to] = span(start, end);
    let latest = from;
    const partOf = ({ text, wordStart }: CuePart): string => {
      const ms = milliseconds(wordStart ?? start);
      const stamped = wordTimes && ms > latest && ms < to;
      if (stamped) latest = ms;
      return `${stamped ? `<${clockTime(ms, ".")}>` : ""}${escapeVtt(text)}`;
    };
    const text = lines.map((line) => lineText(line.map((part) => ({ ...part, text: partOf(part) }))));
    return `${clockTime(from, ".")} --> ${clockTime(to, ".")}\n${text.join("\n")}\n`;
  });
  return ["WEBVTT\n", ...blocks].join("\n");
}

function escapeVtt(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** @source LRC: [mm:ss.xx] before a line; the enhanced form has <mm:ss.xx> before a word */
function lrc(cues: readonly Cue[], wordTimes: boolean): string {
  const stamp = (seconds: number): string => {
    const hundredths = Math.round(seconds * 100);
    const [minutes, rest] = [Math.floor(hundredths / 6000), hundredths % 6000];
    return `${digits(minutes, 2)}:${digits(Math.floor(rest / 100), 2)}.${digits(rest % 100, 2)}`;
  };
  const marked = (part: CuePart): CuePart =>
    part.wordStart === undefined ? part : { ...part, text: `<${stamp(part.wordStart)}>${part.text}` };
  const lines = cues.map(({ start, lines: parts }) => {
    const line = parts.flat();
    return `[${stamp(start)}]${lineText(wordTimes ? line.map(marked) : line)}`;
  });
  return linesOf(["[by:funasr-webgpu]", ...lines]);
}

/** @source openai-whisper WriteTSV */
function tsv(segments: readonly TimedSegment[]): string {
  const rows = segments.map(({ start, end, text }) =>
    [milliseconds(start), milliseconds(end), flatText(text)].join("\t"),
  );
  return linesOf(["start\tend\ttext", ...rows]);
}

function linesOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

/** A text as one line: a space in place of ends of lines, tabs and other control characters. */
export function flatText(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
}

/** A cue's times in milliseconds; the second is larger. */
function span(start: number, end: number): [number, number] {
  const from = milliseconds(start);
  return [from, Math.max(from + 1, milliseconds(end))];
}

function milliseconds(seconds: number): number {
  return Math.max(0, Math.round(seconds * 1000));
}

/** HH:MM:SS and milliseconds. */
function clockTime(ms: number, point: "," | "."): string {
  const seconds = Math.floor(ms / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${parts.map((part) => digits(part, 2)).join(":")}${point}${digits(ms % 1000, 3)}`;
}

function digits(value: number, count: number): string {
  return String(value).padStart(count, "0");
}
