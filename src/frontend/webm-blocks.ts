import { viewOf } from "./spans.js";
import { streamInfo } from "./flac-frames.js";
import { hasMark } from "./tags.js";

/** The first audio track of a WebM or Matroska file. */
export interface WebmTrack {
  /** Seconds from its first block to its last. */
  readonly seconds: number;
  /** The most channels by the headers of tracks and of Opus. */
  readonly channels: number;
  /** The most channels by the headers of tracks; a header without it means 1. */
  readonly coded: number;
  /** Bits of FLAC's integers. */
  readonly bits?: number | undefined;
  /** Elements of the file, with those inside others. The scan stops at `mostElements` + 1. */
  readonly elements: number;
  /** What is missing: the file ends within an element, or holds bytes that are none. */
  readonly damage?: string | undefined;
  /** All in front of the first cluster, then the track's blocks one by one. */
  readonly chunks: Iterable<Uint8Array>;
}

const SEGMENT = 0x18538067;
const CLUSTER = 0x1f43b675;
const GROUP = 0xa0;
const BLOCK = 0xa1;
const SIMPLE_BLOCK = 0xa3;
const TIME = 0xe7;
const SCALE = 0x2ad7b1;
const TRACKS = 0x1654ae6b;
const TRACK = 0xae;
const NUMBER = 0xd7;
const TYPE = 0x83;
const AUDIO = 0xe1;
const CHANNELS = 0x9f;
const PRIVATE = 0x63a2;
const INFO = 0x1549a966;
const EBML = 0x1a45dfa3;
/** Elements that a file may hold: 24 hours have 4.3 million blocks of 20 ms. */
export const mostElements = 5_000_000;
/** Elements whose parts are read. */
const OPENED = new Set([SEGMENT, CLUSTER, GROUP, TRACKS, TRACK, AUDIO, INFO]);
/**
 * Elements that may come last in a file of unknown size: blocks, cues, tags, filling, a block
 * group's parts.
 */
const LAST = new Set([
  CLUSTER,
  GROUP,
  BLOCK,
  SIMPLE_BLOCK,
  TIME,
  0x1c53bb6b,
  0x1254c367,
  0xec,
  0x9b,
  0x75a2,
  0xfb,
]);

interface Element {
  readonly id: number;
  /** Where it and its body begin. */
  readonly at: number;
  readonly begin: number;
  /** Where it ends. Infinity: unknown. */
  readonly end: number;
}

/**
 * Finds the blocks of the first audio track. After bytes that are no element it goes on at the next
 * cluster.
 * @param bytes  the whole file, which may end early or go on with other bytes
 * @source RFC 8794 (EBML), RFC 9559 (Matroska), sections 5.1 and 10
 */
export function scanWebm(bytes: Uint8Array): WebmTrack {
  const view = viewOf(bytes);
  let track: Track = { number: 0 };
  let audio: Track | undefined;
  let [count, channels, coded] = [0, 0, 1];
  let [groupEnd, inGroup, plain] = [0, 0, true];
  let [scale, cluster, first, last, head, stopped] = [1_000_000, 0, Infinity, 0, -1, 0];
  let damage: string | undefined;
  for (const element of elements(bytes, view)) {
    const { id, at, begin, end } = element;
    if (++count > mostElements) break;
    if (at > stopped && stopped > 0) damage ??= "bytes between its clusters mean nothing and were left out";
    stopped = OPENED.has(id) ? begin : end;
    if (end !== Infinity && end > bytes.length) damage ??= "cut short: an element passes its end";
    if (id === GROUP) {
      plain &&= at >= groupEnd;
      [groupEnd, inGroup] = [end, 0];
    } else if (id === BLOCK) plain &&= ++inGroup === 1;
    if (id === CLUSTER && head < 0) head = at;
    else if (id === SCALE) scale = unsigned(view, element);
    else if (id === TIME) cluster = unsigned(view, element);
    else if (id === TRACK) track = { number: 0 };
    else if (id === NUMBER) track.number = unsigned(view, element);
    else if (id === TYPE && unsigned(view, element) === 2) audio ??= track;
    else if (id === CHANNELS) coded = Math.max(coded, unsigned(view, element));
    else if (id === PRIVATE && hasMark(bytes, begin, "OpusHead"))
      channels = Math.max(channels, bytes[begin + 9] ?? 0);
    else if (id === PRIVATE && hasMark(bytes, begin, "fLaC")) track.bits = streamInfo(bytes, begin + 8).bits;
    else if ((id === SIMPLE_BLOCK || id === BLOCK) && isOf(view, element, audio)) {
      const time = cluster + view.getInt16(vint(view, begin)!.next);
      [first, last] = [Math.min(first, time), Math.max(last, time)];
    }
  }
  const seconds = first === Infinity ? 0 : ((last - first) * scale) / 1e9;
  const chunks = head < 0 ? [bytes] : audioBlocks(bytes, head, audio, plain);
  const { bits } = audio ?? {};
  return { seconds, channels: Math.max(channels, coded), coded, bits, elements: count, damage, chunks };
}

interface Track {
  number: number;
  bits?: number;
}

/**
 * The bytes in front of `head`, then the blocks of a track.
 * @param plain  whether each group holds one block; it is then kept whole, with the block's fields
 */
function* audioBlocks(
  bytes: Uint8Array,
  head: number,
  audio: Track | undefined,
  plain: boolean,
): Generator<Uint8Array> {
  const view = viewOf(bytes);
  yield bytes.subarray(0, head);
  if (!audio) return;
  let group: Element | undefined;
  for (const element of elements(bytes, view)) {
    const { id, at, end } = element;
    if (id === GROUP) group = element;
    if ((id !== SIMPLE_BLOCK && id !== BLOCK) || !isOf(view, element, audio)) continue;
    if (id === SIMPLE_BLOCK) yield bytes.subarray(at, end);
    else if (!plain) {
      const block = bytes.slice(at, end);
      block[0] = SIMPLE_BLOCK;
      yield block;
    } else if (group && group.end >= end && group.end <= bytes.length)
      yield bytes.subarray(group.at, group.end);
  }
}

/**
 * Elements in their order, those inside others too. An unopened one that passes the file's end
 * comes last. Behind the segment's end, or behind the last block where its size is unknown, the
 * scan goes on at the next cluster.
 */
function* elements(bytes: Uint8Array, view: DataView): Generator<Element> {
  let whole = Infinity; // where the segment ends
  for (let at = 0; at < bytes.length;) {
    const found = elementAt(view, at);
    if (found?.id === SEGMENT) whole = found.end;
    if (found?.id === EBML) whole = Infinity;
    const element = at < whole ? found : undefined;
    const inside = element !== undefined && (OPENED.has(element.id) || element.end <= bytes.length);
    if (inside) {
      yield element;
      at = OPENED.has(element.id) ? element.begin : element.end;
      continue;
    }
    const next = nextCluster(bytes, at + 1);
    if (next < 0 && element && element.end !== Infinity && (whole !== Infinity || LAST.has(element.id)))
      yield { ...element, id: 0 };
    if (next < 0) return;
    whole = Infinity;
    at = next;
  }
}

function elementAt(view: DataView, at: number): Element | undefined {
  if (at >= view.byteLength) return undefined;
  const length = Math.clz32(view.getUint8(at)) - 23; // of the id, its first bit among its bits
  if (length > 4 || at + length > view.byteLength) return undefined;
  let id = 0;
  for (let i = 0; i < length; i++) id = id * 256 + view.getUint8(at + i);
  const size = vint(view, at + length);
  return size && { id, at, begin: size.next, end: size.next + size.value };
}

/** A number of variable length, and where it ends. All ones: unknown, Infinity. */
function vint(view: DataView, at: number): { readonly value: number; readonly next: number } | undefined {
  if (at >= view.byteLength) return undefined;
  const length = Math.clz32(view.getUint8(at)) - 23;
  if (length > 8 || at + length > view.byteLength) return undefined;
  let value = view.getUint8(at) & (2 ** (8 - length) - 1);
  for (let i = 1; i < length; i++) value = value * 256 + view.getUint8(at + i);
  const unknown = value >= 2 ** (7 * length) - 1 || value >= 2 ** 53;
  return { value: unknown ? Infinity : value, next: at + length };
}

/** A number of up to 8 bytes. */
function unsigned(view: DataView, { begin, end }: Element): number {
  let value = 0;
  for (let at = begin; at < Math.min(end, begin + 8, view.byteLength); at++)
    value = value * 256 + view.getUint8(at);
  return value;
}

/** Whether a block is whole and of a track. */
function isOf(view: DataView, { begin, end }: Element, track: Track | undefined): boolean {
  const number = vint(view, begin);
  if (!number || number.value !== track?.number) return false;
  return number.next + 3 <= Math.min(end, view.byteLength);
}

function nextCluster(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0x1f, from); at >= 0; at = bytes.indexOf(0x1f, at + 1))
    if (bytes[at + 1] === 0x43 && bytes[at + 2] === 0xb6 && bytes[at + 3] === 0x75) return at;
  return -1;
}
