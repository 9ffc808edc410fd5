import { ArgumentError } from "../../arguments.js";
import type { TimedSegment } from "./segment.js";
import { type Unit, unitsOf } from "./units.js";
import { tenths } from "./width.js";

/** What a cue of subtitles may be. */
export interface CueOptions {
  /** Columns of a line at most, 10 to 200; a wide character takes 2.1. Default: 42. */
  readonly maxLineWidth?: number;
  /** Lines of a cue at most, 1 to 10. Default: 2. */
  readonly maxLines?: number;
}

/** A part of a line; `joint` stands behind it on its line. */
export interface CuePart {
  readonly text: string;
  readonly joint: "" | " ";
  /** Seconds; undefined where the segment has no words. */
  readonly wordStart: number | undefined;
}

/** Lines that are shown together, in seconds. */
export interface Cue {
  readonly start: number;
  readonly end: number;
  readonly lines: readonly (readonly CuePart[])[];
}

/** Least and most of `maxLineWidth` and of `maxLines`. */
export const [LINE_WIDTHS, LINE_COUNTS] = [
  [10, 200],
  [1, 10],
] as const;

function expectWithin(field: string, value: number, [least, most]: readonly [number, number]): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new ArgumentError(
    `subtitles: ${field}: expected a whole number from ${least} to ${most}, got ${value}`,
  );
}

const LEAST_SECONDS = 1;
const MOST_SECONDS = 7;
/** A cue ends at a pause as long as this whatever its text. */
const PAUSE_SECONDS = 0.5;

/** Costs by which cues are chosen; one more cue costs 1. */
const cost = { clause: 0.8, word: 2, sentenceWithin: 1.2, segmentWithin: 1.5, pause: 3, short: 4 } as const;

/**
 * Cues of segments: lines of at most 42 columns, two lines, 1 to 7 s. Cues end at pauses, sentences
 * and clauses where they can. A cue is shorter than 1 s only where the next one begins, longer than
 * 7 s never.
 * @param segments  in the order of their times
 * @throws ArgumentError  a width or a count out of range
 */
export function cuesOf(segments: readonly TimedSegment[], options: CueOptions = {}): Cue[] {
  const { maxLineWidth = 42, maxLines = 2 } = options;
  expectWithin("maxLineWidth", maxLineWidth, LINE_WIDTHS);
  expectWithin("maxLines", maxLines, LINE_COUNTS);
  const widest = 10 * maxLineWidth;
  const units = unitsOf(segments, widest);
  let from = 0;
  return chooseEnds(units, widest, maxLines).map((to) => {
    const shown = units.slice(from, to);
    const { start } = shown[0];
    const next = to < units.length ? Math.max(start, units[to].start) : Infinity;
    from = to;
    const end = Math.min(Math.max(lastEnd(shown), start + LEAST_SECONDS), start + MOST_SECONDS, next);
    return { start, end, lines: layOut(shown, widest, maxLines) };
  });
}

function lastEnd(units: readonly Unit[]): number {
  return units.reduce((end, unit) => Math.max(end, unit.end), -Infinity);
}

/** Where cues end, as places behind their last unit: those of the least cost altogether. */
function chooseEnds(units: readonly Unit[], widest: number, maxLines: number): number[] {
  const least = new Float64Array(units.length + 1).fill(Infinity);
  const begins = new Int32Array(units.length + 1);
  least[0] = 0;
  for (let from = 0; from < units.length; from++)
    for (const [to, own] of costsFrom(units, from, widest, maxLines)) {
      if (least[from] + own >= least[to]) continue;
      least[to] = least[from] + own;
      begins[to] = from;
    }
  const ends: number[] = [];
  for (let to = units.length; to > 0; to = begins[to]) ends.push(to);
  return ends.reverse();
}

/** The cues that can begin at a unit: the place behind each, and its cost. */
function* costsFrom(
  units: readonly Unit[],
  from: number,
  widest: number,
  maxLines: number,
): Generator<readonly [number, number]> {
  const { start } = units[from];
  let [lines, width, within, end] = [1, 0, 0, start];
  for (let i = from; i < units.length; i++) {
    const unit = units[i];
    end = Math.max(end, unit.end);
    const more = tenths(unit.text);
    const joined = i === from ? more : width + 10 * units[i - 1].joint.length + more;
    if (i > from && joined > widest) [lines, width] = [lines + 1, more];
    else width = joined;
    if (i > from && (lines > maxLines || end - start > MOST_SECONDS)) return;
    const next = i + 1 < units.length ? units[i + 1].start : Infinity;
    const shown = Math.max(end, Math.min(start + LEAST_SECONDS, next)) - start;
    const short = cost.short * Math.max(0, LEAST_SECONDS - shown);
    yield [i + 1, 1 + within + endCost(unit, next) + short];
    const pause = Math.max(0, next - unit.end);
    within += withinCost(unit) + cost.pause * pause;
  }
}

const sentenceEnd = /[.!?。！？…｡]["'’”»)\]）」』]*$/u;
const clauseEnd = /[,;:，；：、､—–]["'’”»)\]）」』]*$/u;

/** The cost of a cue that ends behind this unit. */
function endCost({ text, end, last }: Unit, next: number): number {
  if (last || next - end >= PAUSE_SECONDS || sentenceEnd.test(text)) return 0;
  return clauseEnd.test(text) ? cost.clause : cost.word;
}

/** The cost of a cue that goes on behind this unit. */
function withinCost({ text, last }: Unit): number {
  if (last) return cost.segmentWithin;
  return sentenceEnd.test(text) ? cost.sentenceWithin : 0;
}

/** Cost of a line that does not end at punctuation, where a full line costs 1. */
const LINE_WITHOUT_END = 0.15;

/** The units of a cue on the fewest lines: even ones, which end at punctuation where they can. */
function layOut(units: readonly Unit[], widest: number, maxLines: number): (readonly CuePart[])[] {
  const count = units.length;
  let least = new Float64Array(count + 1).fill(Infinity); // by the units that are on lines
  least[0] = 0;
  const begins: Int32Array[] = []; // by line: where a line begins that ends there
  while (begins.length < maxLines && least[count] === Infinity) {
    const next = new Float64Array(count + 1).fill(Infinity);
    const begin = new Int32Array(count + 1);
    for (let from = 0; from < count; from++) {
      let width = 0;
      for (let to = from + 1; to <= count && least[from] < Infinity; to++) {
        const { text } = units[to - 1];
        width += tenths(text) + (to - 1 > from ? 10 * units[to - 2].joint.length : 0);
        if (width > widest && to > from + 1) break; // the first fits always: it may be one wide grapheme
        const ended = to === count || clauseEnd.test(text) || sentenceEnd.test(text);
        const all = least[from] + (width / widest) ** 2 + (ended ? 0 : LINE_WITHOUT_END);
        if (all < next[to]) [next[to], begin[to]] = [all, from];
      }
    }
    least = next;
    begins.push(begin);
  }
  const lines: CuePart[][] = [];
  for (let to = count; begins.length > 0;) {
    const from = begins.pop()![to];
    lines.push(
      units.slice(from, to).map(({ text, joint, timed, start }) => ({
        text,
        joint,
        wordStart: timed ? start : undefined,
      })),
    );
    to = from;
  }
  return lines.reverse();
}

/** A line as it is shown. */
export function lineText(line: readonly Pick<CuePart, "text" | "joint">[]): string {
  return line.map(({ text, joint }, i) => (i < line.length - 1 ? text + joint : text)).join("");
}
