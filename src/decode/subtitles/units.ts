import type { TimedSegment, TimedWord } from "./segment.js";
import { jointOf } from "../../scripts.js";
import { tenths } from "./width.js";

/** The smallest part of a text that stays on one line: a word with its punctuation. */
export interface Unit {
  readonly text: string;
  /** Stands between this unit and the next, on one line. */
  readonly joint: "" | " ";
  /** Seconds. */
  readonly start: number;
  readonly end: number;
  /** Whether the times come from the segment's words. */
  readonly timed: boolean;
  /** Whether this is the last unit of its segment. */
  readonly last: boolean;
}

/** A piece of a text by its place: UTF-16 units from `from` up to `to`. */
interface Piece {
  readonly from: number;
  readonly to: number;
}

/** Scripts whose lines may break between words without a space, and their punctuation. */
const breakable =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u30fc\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\u3000-\u303f\uff00-\uff65]/u;
const opening = /^[\p{Ps}\p{Pi}]+$/u;
const wordLike = /[\p{L}\p{N}]/u;

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * The units of segments, in order, with their times: those of the words where a segment has words
 * that its text holds, else the segment's time spread by width.
 * @param widest  a unit that is wider is cut, in tenths of a column
 */
export function unitsOf(segments: readonly TimedSegment[], widest: number): Unit[] {
  const units: Unit[] = [];
  for (const segment of segments) {
    const text = oneLine(segment.text);
    if (text === "") continue;
    const before = units.at(-1);
    if (before) units[units.length - 1] = { ...before, joint: jointOf(before.text, text) };
    const time = clock(text, segment);
    const pieces = piecesOf(text, widest);
    for (const [i, { from, to }] of pieces.entries()) {
      const word = text.slice(from, to).trimEnd();
      const joint = word.length < to - from ? " " : "";
      units.push({ text: word, joint, ...time(from, from + word.length), last: i === pieces.length - 1 });
    }
  }
  return units;
}

/** A text on one line, in which no arrow of a cue stands. */
export function oneLine(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ")
    .replaceAll(/-{2,}>/g, "->")
    .trim();
}

function lastCharacter(text: string): string {
  return Array.from(text.slice(-2)).at(-1) ?? "";
}

/** Cuts a text where a line may end; white space belongs to the piece before it. */
function piecesOf(text: string, widest: number): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  let before = "";
  for (const { segment, index } of segmenter.segment(text)) {
    if (index > from && mayBreak(before, segment)) {
      pieces.push({ from, to: index });
      from = index;
    }
    before = segment;
  }
  pieces.push({ from, to: text.length });
  return pieces.flatMap((piece) => cutWide(text, piece, widest));
}

/** Whether a line may end between two neighbours of the word segmentation. */
function mayBreak(before: string, after: string): boolean {
  if (/^\s/.test(after)) return false;
  if (/\s$/.test(before)) return true;
  if (opening.test(before)) return false;
  if (!wordLike.test(after) && !opening.test(after)) return false; // closing punctuation
  return breakable.test(lastCharacter(before)) || breakable.test(after.slice(0, 1));
}

/** A piece in parts that fit on a line. */
function cutWide(text: string, piece: Piece, widest: number): Piece[] {
  const word = text.slice(piece.from, piece.to);
  if (tenths(word.trimEnd()) <= widest) return [piece];
  const parts: Piece[] = [];
  let [from, width] = [piece.from, 0];
  for (const { segment, index } of graphemes.segment(word)) {
    const at = piece.from + index;
    const more = /\s/.test(segment) ? 0 : tenths(segment);
    if (more > 0 && width > 0 && width + more > widest) {
      parts.push({ from, to: at });
      [from, width] = [at, 0];
    }
    width += more;
  }
  return [...parts, { from, to: piece.to }];
}

interface Span extends Piece {
  readonly start: number;
  readonly end: number;
}

/** The time of the parts of a segment's text, asked for in order. */
function clock(
  text: string,
  { start, end, words = [] }: TimedSegment,
): (from: number, to: number) => Pick<Unit, "start" | "end" | "timed"> {
  const last = Math.max(start, end);
  const widths = widthsOf(text);
  const located = locate(text, words);
  const spans = located ?? [{ from: 0, to: text.length, start, end: last }];
  /** Within a span, time runs as the width of its text. */
  const timeAt = ({ from, to, start: first, end: then }: Span, at: number): number => {
    const all = widths[to] - widths[from];
    const before = widths[Math.min(Math.max(at, from), to)] - widths[from];
    return Math.min(Math.max(all === 0 ? first : first + (before / all) * (then - first), start), last);
  };
  let [next, now] = [0, start];
  return (from, to) => {
    while (next < spans.length && spans[next].to <= from) next++;
    let begin: number | undefined;
    for (let i = next; i < spans.length && spans[i].from < to; i++) {
      begin ??= Math.max(now, timeAt(spans[i], from));
      now = Math.max(begin, timeAt(spans[i], to));
    }
    return { start: begin ?? now, end: now, timed: located !== undefined && begin !== undefined };
  };
}

/** [text.length + 1] width of the text before each place, in tenths of a column. */
function widthsOf(text: string): Float64Array {
  const widths = new Float64Array(text.length + 1);
  let [at, sum] = [0, 0];
  for (const character of text) {
    widths.fill(sum, at, at + character.length);
    sum += tenths(character);
    at += character.length;
  }
  widths[at] = sum;
  return widths;
}

/** Where the words stand in the text; undefined without words, and where one is missing. */
function locate(text: string, words: readonly TimedWord[]): Span[] | undefined {
  if (words.length === 0) return undefined;
  const [exact, folded] = [text, text.toLowerCase()];
  const haystack = folded.length === exact.length ? folded : exact; // some letters grow in lower case
  const spans: Span[] = [];
  let at = 0;
  for (const { text: word, start, end } of words) {
    const plain = oneLine(word);
    if (plain === "") continue;
    const from = haystack.indexOf(haystack === folded ? plain.toLowerCase() : plain, at);
    if (from < 0) return undefined;
    at = from + plain.length;
    spans.push({ from, to: at, start, end });
  }
  return spans.length === 0 ? undefined : spans;
}
