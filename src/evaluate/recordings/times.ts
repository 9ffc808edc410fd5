import { sum } from "../../arrays.js";
import { align } from "../metrics/edits.js";
import { textUnits } from "../metrics/cer.js";
import type { Heard, HeardSegment } from "../record.js";
import { quantile } from "../statistics.js";
import { coverage, without } from "./spans.js";

/** What is measured of one segment of a reference, in seconds. */
export interface SegmentTimes {
  /** Heard begin minus the reference's; absent: its first word was not found, or has no time. */
  readonly start?: number;
  /** The same of its end and last word. */
  readonly end?: number;
  readonly seconds: number;
  /** Of it in no segment with words; absent: the clip was run whole. */
  readonly missed?: number;
  /** In segments with words, but in none of the reference: in the gap behind it, and before the first. */
  readonly falseSpeech?: number;
}

/** Errors of begins or ends. */
export interface TimeErrors {
  /** Segments whose word was found and has a time. */
  readonly found: number;
  /** Of the errors without their sign, seconds; NaN of none. */
  readonly median: number;
  readonly p95: number;
}

/** How well times fit references that have them. */
export interface TimeSummary {
  readonly clips: number;
  /** Of the references. */
  readonly segments: number;
  readonly start: TimeErrors;
  readonly end: TimeErrors;
  /** In the references of the clips that were run in segments, as of the next two. */
  readonly speechSeconds: number;
  /** Share of it in no segment with words; NaN of none. */
  readonly missed: number;
  /** Seconds of segments with words where the references have no speech, as a share of it. */
  readonly falseSpeech: number;
}

/** Times of units of what was heard. */
interface HeardUnits {
  readonly units: string[];
  readonly starts: (number | undefined)[];
  readonly ends: (number | undefined)[];
}

/**
 * Times of each segment of a record's reference. A begin is that of the heard word that the
 * alignment of the texts finds equal to the segment's first one. Where words have no times, only
 * words at the edges of heard segments have one.
 * @returns  none where the reference has no times
 */
export function segmentTimes(record: Heard): SegmentTimes[] {
  const { referenceSegments, segments } = record;
  if (!referenceSegments) return [];
  const lists = referenceSegments.map(({ text }) => textUnits(text, "mixed"));
  const heard = heardUnits(segments ?? wholeClip(record));
  const found = matches(lists.flat(), heard.units);
  const speech = segments && spokenTimes(record);
  let at = 0;
  const times = referenceSegments.map(({ start, end }, i): SegmentTimes => {
    const [first, last] = [found[at], found[at + lists[i].length - 1]];
    const said = lists[i].length > 0;
    at += lists[i].length;
    const from = said && first !== undefined ? heard.starts[first] : undefined;
    const to = said && last !== undefined ? heard.ends[last] : undefined;
    return {
      ...(from !== undefined && { start: from - start }),
      ...(to !== undefined && { end: to - end }),
      seconds: end - start,
      ...speech?.(i),
    };
  });
  return times.length === 0 && speech ? [{ seconds: 0, ...speech(0) }] : times;
}

/** A clip that was run whole, as a segment. */
function wholeClip({ start = 0, audioSeconds, hypothesis, words }: Heard): HeardSegment[] {
  const end = start + audioSeconds;
  return hypothesis === "" ? [] : [{ start, end, text: hypothesis, ...(words && { words }) }];
}

function heardUnits(segments: readonly HeardSegment[]): HeardUnits {
  const all: HeardUnits = { units: [], starts: [], ends: [] };
  const add = (text: string, start: number, end: number, everyUnit: boolean): void => {
    const units = textUnits(text, "mixed");
    units.forEach((unit, i) => {
      all.units.push(unit);
      all.starts.push(everyUnit || i === 0 ? start : undefined);
      all.ends.push(everyUnit || i === units.length - 1 ? end : undefined);
    });
  };
  for (const { start, end, text, words } of segments) {
    if (!words) add(text, start, end, false);
    else for (const word of words) add(word.text, word.start, word.end, true);
  }
  return all;
}

/** Of each unit of the reference the index of the equal one that was heard. */
function matches(reference: readonly string[], heard: readonly string[]): (number | undefined)[] {
  const found: (number | undefined)[] = [];
  let at = 0;
  for (const { kind } of align(reference, heard)) {
    if (kind !== "insertion") found.push(kind === "equal" ? at : undefined);
    if (kind !== "deletion") at++;
  }
  return found;
}

/** Seconds missed of each segment, and seconds of false speech behind it; before the first one too. */
function spokenTimes({
  referenceSegments = [],
  ignore = [],
  segments = [],
}: Heard): (i: number) => { missed: number; falseSpeech: number } {
  const heard = segments.filter(({ text }) => text !== "");
  const covered = coverage(heard);
  const extra = coverage(without(without(heard, ignore), referenceSegments));
  return (i) => {
    const last = i >= referenceSegments.length - 1;
    const from = i === 0 ? 0 : extra(referenceSegments[i].start);
    const to = extra(last ? Infinity : referenceSegments[i + 1].start);
    const own = referenceSegments[i];
    const missed = own ? Math.max(0, own.end - own.start - (covered(own.end) - covered(own.start))) : 0;
    return { missed, falseSpeech: Math.max(0, to - from) };
  };
}

/** All times of a run; undefined where no reference has any. */
export function summarizeTimes(heard: readonly Heard[]): TimeSummary | undefined {
  const timed = heard.filter(({ referenceSegments }) => referenceSegments);
  if (timed.length === 0) return undefined;
  const times = timed.flatMap(segmentTimes);
  const cut = times.filter(({ missed }) => missed !== undefined);
  const speechSeconds = sum(cut.map(({ seconds }) => seconds));
  const share = (field: "missed" | "falseSpeech"): number =>
    sum(cut.map((one) => one[field]!)) / speechSeconds;
  return {
    clips: timed.length,
    segments: sum(timed.map(({ referenceSegments }) => referenceSegments!.length)),
    start: errorsOf(times.map(({ start }) => start)),
    end: errorsOf(times.map(({ end }) => end)),
    speechSeconds,
    missed: speechSeconds > 0 ? share("missed") : NaN,
    falseSpeech: speechSeconds > 0 ? share("falseSpeech") : NaN,
  };
}

function errorsOf(errors: readonly (number | undefined)[]): TimeErrors {
  const sizes = errors.flatMap((error) => (error === undefined ? [] : [Math.abs(error)]));
  return { found: sizes.length, median: quantile(sizes, 0.5), p95: quantile(sizes, 0.95) };
}
