import type { SegmentFinish } from "../decode/segments/recording.js";
import type { Word } from "../decode/alignment/words.js";
import type { JsonObject } from "../json.js";

/** A part of a long file: its segments are those that start in it. Times in seconds into the file. */
export interface Piece {
  /** Number of the part, from 0, and of all. */
  readonly part: number;
  readonly parts: number;
  readonly from: number;
  /** Absent: the file's end. */
  readonly to?: number;
}

/** What a worker transcribes: a line of a shard. */
export interface Item {
  /** Number of the utterance in the corpus, from 0. */
  readonly index: number;
  /** Its name in the input, where it has one. */
  readonly key?: string;
  /** Absolute path of the audio, or of the tar that it lies in. */
  readonly audio: string;
  /** The audio lies within the file. */
  readonly member?: { readonly name: string; readonly at: number; readonly bytes: number };
  /** Seconds into the file. */
  readonly start?: number;
  readonly end?: number;
  /** Counted from 1. */
  readonly channel?: number;
  /** The user's words before the audio. */
  readonly prompt?: string;
  /** What is said, by the input. */
  readonly reference?: string;
  /** By the input or the header; absent: not known. */
  readonly seconds?: number;
  readonly piece?: Piece;
}

/** A segment of a result; times in seconds into the file. */
export interface ResultSegment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly finish?: Exclude<SegmentFinish, "stop">;
  /** How well the CTC head's own text agrees, 0 to 1. */
  readonly agreement?: number;
  readonly words?: readonly Word[];
}

/**
 * Why an utterance has no text.
 * - missing, unreadable: the file; audio: what is in it; prompt: the options with it
 * - model: the model cannot take it; engine: it ended the engine's process each time
 * - internal: a fault of this program
 */
export const FAILURE_KINDS = [
  "missing",
  "unreadable",
  "audio",
  "prompt",
  "model",
  "engine",
  "internal",
] as const;

/** See FAILURE_KINDS. */
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** The result of an item: a line of a shard's JSONL, which depends on the plan alone. */
export interface ResultRecord {
  readonly index: number;
  readonly key?: string;
  readonly audio: string;
  /** Name of a tar's member. */
  readonly member?: string;
  readonly start?: number;
  readonly end?: number;
  readonly channel?: number;
  /** Of the audio that was heard; 0 where it failed. */
  readonly seconds: number;
  readonly text: string;
  readonly segments: readonly ResultSegment[];
  /** That of the segments, by their lengths. */
  readonly agreement?: number;
  readonly reference?: string;
  readonly warnings?: readonly string[];
  readonly error?: { readonly kind: FailureKind; readonly message: string };
  /** Until the merge joins the parts of a file. */
  readonly piece?: readonly [part: number, parts: number];
}

/** What an engine makes of an item. */
export interface Heard {
  readonly seconds: number;
  readonly segments: readonly ResultSegment[];
  readonly warnings?: readonly string[];
}

/** A value as JSON without what is undefined. */
export function line(value: ResultRecord | Item | JsonObject): string {
  return `${JSON.stringify(value)}\n`;
}
