import { MOST_SECONDS } from "../timed-text.js";

/** An utterance as a part of a recording. */
export interface KaldiPart {
  readonly recording: string;
  /** Seconds. */
  readonly start?: number;
  /** Seconds; absent: the end of the recording. */
  readonly end?: number;
  /** Counted from 1. */
  readonly channel?: number;
}

const mostChannels = 999;

/**
 * Parses a line of `segments` after its id: recording, start, end, and optionally a channel.
 * @returns  the part, or the reason why there is none
 * @source Kaldi src/featbin/extract-segments.cc: an end of -1 is the recording's end; channels
 *   count from 0, and -1 means no channel
 */
export function parseSegment(value: string): KaldiPart | string {
  const [recording, from, to, side, ...more] = value.split(/\s+/);
  const [start, end] = [decimal(from), decimal(to)];
  if (start === undefined || end === undefined || start < 0 || (end > 0 && end <= start))
    return `no start and end in seconds: ${value}`;
  if (more.length > 0) return `more than recording, start, end and channel: ${value}`;
  const part = { recording, start, ...(end > 0 ? { end } : {}) };
  if (side === undefined || side === "-1") return part;
  const channel = parseChannel(side);
  return channel === undefined ? `no channel 0, 1 or A, B: ${value}` : { ...part, channel };
}

/**
 * Parses a line of `reco2file_and_channel` after its id: file and channel.
 * @returns  the channel, from 1, or the reason why there is none
 */
export function parseSide(value: string): number | string {
  const [, side, ...more] = value.split(/\s+/);
  const channel = side === undefined || more.length > 0 ? undefined : parseChannel(side);
  return channel ?? `no file and channel 0, 1 or A, B: ${value}`;
}

/** 0, 1, ... or A, B, ... → 1, 2, ... */
function parseChannel(text: string): number | undefined {
  if (/^[a-z]$/i.test(text)) return text.toUpperCase().charCodeAt(0) - "A".charCodeAt(0) + 1;
  return /^\d{1,3}$/.test(text) && Number(text) < mostChannels ? Number(text) + 1 : undefined;
}

function decimal(text = ""): number | undefined {
  const value = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : NaN;
  return Math.abs(value) <= MOST_SECONDS ? value : undefined;
}
