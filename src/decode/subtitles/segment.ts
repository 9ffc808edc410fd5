/** A word of a segment, in seconds from the beginning of the recording. */
export interface TimedWord {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** A part of a recording with its text, in seconds from the beginning of the recording. */
export interface TimedSegment {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly words?: readonly TimedWord[];
}
