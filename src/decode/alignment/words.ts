import { type Unit, textUnits } from "./units.js";
import { type Emissions, leastFrames, viterbi } from "./viterbi.js";

/** A word or character of a transcript, with its time in the clip. */
export interface Word {
  /** As in the transcript, with the punctuation beside it. */
  readonly text: string;
  /** Seconds, from 0 on. */
  readonly start: number;
  /** Seconds, above `start`, at most the next word's start. */
  readonly end: number;
  /** Geometric mean of the probabilities of its tokens, 0 to 1. */
  readonly confidence: number;
}

/** One token of a text, or several that are aligned as one. */
export interface Piece {
  readonly column: number;
  /** UTF-8 bytes of the text: [begin, end). */
  readonly begin: number;
  readonly end: number;
}

/** The clip that is aligned. */
export interface Clip {
  /** From one frame to the next. */
  readonly frameSeconds: number;
  readonly seconds: number;
}

/** The words, or the reason that there are none. */
export type Alignment = { readonly words: readonly Word[] } | { readonly failure: string };

/** Where a piece was found: frames from `first` on, and its probability. */
interface Place extends Piece {
  readonly first: number;
  readonly count: number;
  readonly probability: number;
}

/** Below this confidence a number is aligned as any speech, whatever its words. */
const weakNumber = 0.1;
/** What a frame of such a number costs: a neighbour's frames stay with the neighbour. */
const anySpeechCost = 2;

/**
 * Times of a text's words by CTC. A token of several characters is shared among them by their
 * bytes. A number whose digits were not found is any speech between its neighbours.
 * @param pieces  the tokens of the text in order, which cover its bytes
 */
export function alignWords(
  text: string,
  pieces: readonly Piece[],
  emissions: Emissions,
  clip: Clip,
): Alignment {
  const units = textUnits(text);
  if (units.length === 0) return { words: [] };
  const places = findPieces(emissions, pieces);
  if (!places) return { failure: refusal(emissions, pieces) };
  const found = locate(units, places);
  const weak = new Set(units.filter((unit, i) => unit.number && found[i].confidence < weakNumber));
  const freed = weak.size > 0 && findAnySpeech(emissions, pieces, units, weak);
  return { words: timed(units, freed ? locate(units, freed) : found, clip) };
}

function refusal(emissions: Emissions, pieces: readonly Piece[]): string {
  const least = leastFrames(pieces.map(({ column }) => column));
  if (least > emissions.frames)
    return `the text needs ${least} frames of audio, and the clip has ${emissions.frames}`;
  return `${pieces.length} tokens in ${emissions.frames} frames are too many to align; cut the clip into parts`;
}

function findPieces(emissions: Emissions, pieces: readonly Piece[]): Place[] | undefined {
  const path = viterbi(
    emissions,
    pieces.map(({ column }) => column),
  );
  if (!path) return undefined;
  const { data, columns } = emissions;
  const places = pieces.map((piece) => ({ ...piece, first: 0, count: 0, probability: 0 }));
  path.forEach((token, t) => {
    if (token < 0) return;
    const place = places[token];
    if (place.count++ === 0) place.first = t;
    place.probability = Math.max(place.probability, Math.exp(data[t * columns + place.column]));
  });
  return places;
}

interface Found {
  /** Frames, in fractions where a token is shared. */
  readonly from: number;
  readonly to: number;
  readonly confidence: number;
}

/** For each piece, in order, the units with letters in it and how many bytes of them it has. */
function* shares<P extends Piece>(
  units: readonly Unit[],
  pieces: readonly P[],
): Generator<{ readonly piece: P; readonly parts: readonly { unit: number; letters: number }[] }> {
  let first = 0;
  for (const piece of pieces) {
    while (first < units.length && units[first].end <= piece.begin) first++;
    const parts: { unit: number; letters: number }[] = [];
    for (let unit = first; unit < units.length && units[unit].begin < piece.end; unit++) {
      const { begin, end } = units[unit];
      parts.push({ unit, letters: Math.min(piece.end, end) - Math.max(piece.begin, begin) });
    }
    yield { piece, parts };
  }
}

/** Each unit's frames: its share of every token that spells a part of it. */
function locate(units: readonly Unit[], places: readonly Place[]): Found[] {
  const found = units.map(() => ({ from: Infinity, to: 0, logs: 0, count: 0 }));
  for (const { piece, parts } of shares(units, places)) {
    const all = parts.reduce((sum, { letters }) => sum + letters, 0);
    let before = 0;
    for (const { unit, letters } of parts) {
      const one = found[unit];
      one.from = Math.min(one.from, piece.first + (piece.count * before) / all);
      before += letters;
      one.to = piece.first + (piece.count * before) / all;
      one.logs += Math.log(piece.probability);
      one.count++;
    }
  }
  return found.map(({ from, to, logs, count }) => ({ from, to, confidence: Math.exp(logs / count) }));
}

/** The places of the pieces where those of the weak numbers are any speech. */
function findAnySpeech(
  emissions: Emissions,
  pieces: readonly Piece[],
  units: readonly Unit[],
  weak: ReadonlySet<Unit>,
): Place[] | undefined {
  const { columns } = emissions;
  const merged: Piece[] = [];
  for (const { piece, parts } of shares(units, pieces)) {
    const last = merged.at(-1);
    const behind = last?.column === columns;
    if (parts.length === 0 && behind) continue; // punctuation
    if (!parts.some(({ unit }) => weak.has(units[unit]))) merged.push(piece);
    else if (last && behind) merged[merged.length - 1] = { ...last, end: piece.end };
    else merged.push({ ...piece, column: columns });
  }
  const factor = Math.exp(anySpeechCost);
  return findPieces(withAnySpeech(emissions), merged)?.map((place) =>
    place.column === columns ? { ...place, probability: Math.min(1, place.probability * factor) } : place,
  );
}

/** Emissions with one more column: any speech, or the pauses in it, at a cost. */
function withAnySpeech({ data, frames, columns, blank }: Emissions): Emissions {
  const wide = new Float32Array(frames * (columns + 1));
  for (let t = 0; t < frames; t++) {
    const row = data.subarray(t * columns, (t + 1) * columns);
    const silence = Math.min(0, row[blank]);
    const speech = Math.log(Math.max(1e-30, -Math.expm1(silence)));
    wide.set(row, t * (columns + 1));
    wide[t * (columns + 1) + columns] = Math.max(speech, silence) - anySpeechCost;
  }
  return { data: wide, frames, columns: columns + 1, blank };
}

/** Seconds in whole milliseconds: in order, none of zero length, inside the clip. */
function timed(units: readonly Unit[], found: readonly Found[], { frameSeconds, seconds }: Clip): Word[] {
  const milliseconds = (frame: number): number => Math.round(1000 * frame * frameSeconds);
  const limit = Math.floor(1000 * seconds) - units.length;
  let last = 0;
  return units.map(({ text }, i) => {
    const { from, to, confidence } = found[i];
    const start = Math.min(Math.max(last, milliseconds(from)), limit + i);
    last = Math.max(start + 1, Math.min(milliseconds(to), limit + i + 1));
    return { text, start: start / 1000, end: last / 1000, confidence: Math.round(1000 * confidence) / 1000 };
  });
}
