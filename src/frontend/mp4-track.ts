import { viewOf } from "./spans.js";
import { chunkId } from "./chunks.js";
import { bySize } from "./decoders.js";
import { streamInfo } from "./flac-frames.js";
import { boxAt, boxesIn, boxId, type Span } from "./mp4-boxes.js";

/** The audio track of an MP4 that the decoder takes, and the file in pieces for it. */
export interface Mp4Track {
  /**
   * Seconds by the header: the shorter of the track's and its media's; 0: unknown, as in fragments.
   */
  readonly claimed: number;
  /** Least seconds of its media by the tables. */
  readonly media: number;
  /** Whether an edit list picks a part of the media. */
  readonly edited: boolean;
  /** Channels by the codec's header in an Opus track; 0: another codec. */
  readonly channels: number;
  /** Channels by the header of AAC or MP3, else the track's; 0: unknown. */
  readonly coded: number;
  /** Bits of FLAC's integers. */
  readonly bits?: number | undefined;
  /** Steps that the decoder takes to find its samples. */
  readonly lookUps: number;
  /** Pieces that decode to a few MB each, the index first. */
  readonly chunks: Iterable<Uint8Array>;
}

const ESDS = chunkId("esds");
/** The sample entry that a codec's box belongs to. */
const ENTRIES = { dOps: "Opus", dfLa: "fLaC" } as const;
/** Least seconds of a compressed frame. */
const SHORTEST = 0.0025;
/** Codecs whose entries in the tables are frames; those of others are samples. */
const FRAMED = ["mp4a", "Opus", "fLaC", "alac", ".mp3", "ac-3", "ec-3", "samr", "sawb", "dtsc"];

/**
 * @param bytes  the whole file
 * @source ISO/IEC 14496-12, sections 8.2.2, 8.3.2, 8.4.2, 8.4.3, 8.5.2, 8.6.1, 8.6.6, 8.7
 */
export function mp4Track(bytes: Uint8Array): Mp4Track {
  const view = viewOf(bytes);
  const none = { claimed: 0, media: 0, edited: false, channels: 0, coded: 0, lookUps: 0, chunks: [bytes] };
  const moov = boxAt(view, [0, bytes.length], "moov");
  if (!moov) return none;
  for (const track of boxesIn(view, moov, "trak")) {
    const handler = boxAt(view, track, "mdia", "hdlr");
    if (!handler || handler[0] + 12 > handler[1] || boxId(bytes, handler[0] + 8) !== "soun") continue;
    const table = boxAt(view, track, "mdia", "minf", "stbl");
    return {
      claimed: claimedSeconds(view, moov, track),
      media: table ? mediaSeconds(view, track, table) : 0,
      edited: boxAt(view, track, "edts", "elst") !== undefined,
      channels: opusChannels(view, table),
      coded: codedChannels(view, table),
      bits: flacBits(bytes, view, table),
      lookUps: table ? lookUps(view, table) : 0,
      chunks: chunksOf(bytes, moov, table),
    };
  }
  return none;
}

function claimedSeconds(view: DataView, moov: Span, track: Span): number {
  const movie = boxAt(view, moov, "mvhd");
  const scale = movie ? timeOf(view, movie, 12).first : 0;
  const header = boxAt(view, track, "tkhd");
  const length = boxAt(view, track, "mdia", "mdhd");
  if (!header || !length) return 0;
  const { first: timescale, second: duration } = timeOf(view, length, 12);
  const seconds = Math.min(timeOf(view, header, 16).second / scale, duration / timescale);
  return Number.isFinite(seconds) ? seconds : 0;
}

interface Times {
  readonly first: number;
  readonly second: number;
}

/**
 * The word at `at` of a box of version 0, and the next (a track's header has a word between); wider
 * in version 1.
 */
function timeOf(view: DataView, [begin, end]: Span, at: number): Times {
  const wide = begin < end && view.getUint8(begin) === 1;
  const first = begin + (wide ? 8 : 0) + at;
  const second = first + 4;
  if (second + 8 > end) return { first: 0, second: 0 };
  return {
    first: view.getUint32(first),
    second: wide ? Number(view.getBigUint64(second)) : view.getUint32(second),
  };
}

/** Seconds by the samples' times, or the least that so many samples last: the longer of both. */
function mediaSeconds(view: DataView, track: Span, table: Span): number {
  const header = boxAt(view, track, "mdia", "mdhd");
  const scale = header ? timeOf(view, header, 12).first : 0;
  const times = boxAt(view, table, "stts");
  let units = 0;
  for (const at of times ? entries(view, times, 4, 8) : [])
    units += view.getUint32(at) * view.getUint32(at + 4);
  const sizes = boxAt(view, table, "stsz");
  const count = sizes && sizes[0] + 12 <= sizes[1] ? view.getUint32(sizes[0] + 8) : 0;
  const entry = boxAt(view, table, "stsd");
  const at = (entry?.[0] ?? 0) + 8;
  const known = entry !== undefined && at + 36 <= entry[1];
  const framed =
    known && FRAMED.includes(String.fromCharCode(...[4, 5, 6, 7].map((i) => view.getUint8(at + i))));
  const rate = known ? view.getUint16(at + 32) || 768_000 : 768_000;
  return Math.max(scale > 0 ? units / scale : 0, count * (framed ? SHORTEST : 1 / rate));
}

/**
 * Where a table's entries of `size` bytes are, as far as its box goes. Its body has the count at
 * `at`.
 */
function* entries(view: DataView, [begin, end]: Span, at: number, size: number): Generator<number> {
  if (begin + at + 4 > end) return;
  const count = view.getUint32(begin + at);
  for (let i = 0, entry = begin + at + 4; i < count && entry + size <= end; i++, entry += size) yield entry;
}

function opusChannels(view: DataView, table: Span | undefined): number {
  const head = codecBox(view, table, "dOps");
  return head && head[0] + 2 <= head[1] ? view.getUint8(head[0] + 1) : 0;
}

/**
 * By the STREAMINFO in the sample entry.
 * @source Encapsulation of FLAC in ISO Base Media File Format, section 3.3
 */
function flacBits(bytes: Uint8Array, view: DataView, table: Span | undefined): number | undefined {
  const head = codecBox(view, table, "dfLa");
  return head && head[0] + 42 <= head[1] ? streamInfo(bytes, head[0] + 8).bits : undefined;
}

/** The box of a codec's header, in the track's sample entry of that codec. */
function codecBox(view: DataView, table: Span | undefined, id: keyof typeof ENTRIES): Span | undefined {
  const description = table && boxAt(view, table, "stsd");
  if (!description || description[0] + 44 > description[1]) return undefined;
  if (view.getUint32(description[0] + 12) !== chunkId(ENTRIES[id])) return undefined;
  const more = [0, 16, 36][view.getUint16(description[0] + 24)] ?? 0; // by QuickTime's version
  const begin = Math.min(description[1], description[0] + 44 + more); // after the entry's own 36 bytes
  return boxAt(view, [begin, description[1]], id);
}

/**
 * Channels by the AudioSpecificConfig in an `esds` box, else by the sample entry.
 * @source ISO/IEC 14496-1, section 7.2.6; 14496-3, section 1.6.2; 14496-12, section 12.2.3
 */
function codedChannels(view: DataView, table: Span | undefined): number {
  const description = table && boxAt(view, table, "stsd");
  if (!description || description[0] + 44 > description[1]) return 0;
  const entryChannels = view.getUint16(description[0] + 32);
  let at = description[0] + 44; // after the entry's own 36 bytes; QuickTime has more
  while (at + 8 <= description[1] && view.getUint32(at) !== ESDS) at++;
  const body = descriptor(view, at + 8, description[1], 3); // after id, version and flags
  const decoder = body && descriptor(view, body + 3, description[1], 4);
  const config = decoder && descriptor(view, decoder + 13, description[1], 5);
  if (!config || config + 2 > description[1]) return mp3Channels(view, table) ?? entryChannels;
  const bits = view.getUint16(config); // 5 of the object type, 4 of the rate, 4 of the channels
  const plain = bits >>> 11 !== 31 && ((bits >>> 7) & 15) !== 15;
  return (plain && (bits >>> 3) & 15) || entryChannels;
}

/** Channels by the first frame of an MP3 track: muxers write 2 for any. */
function mp3Channels(view: DataView, table: Span): number | undefined {
  for (const { table: box, read } of placeTables(view, table))
    for (const entry of entries(view, box, 4, read.size)) {
      const at = read.get(entry);
      if (at + 4 > view.byteLength || view.getUint16(at) < 0xffe0) return undefined;
      return view.getUint8(at + 3) >> 6 === 3 ? 1 : 2;
    }
  return undefined;
}

/** Where the body of a descriptor of a tag begins. */
function descriptor(view: DataView, at: number, end: number, tag: number): number | undefined {
  if (at >= end || view.getUint8(at) !== tag) return undefined;
  let body = at + 1;
  while (body < Math.min(end, at + 5) && view.getUint8(body++) >= 128); // a length of up to 4 bytes
  return body;
}

const PIECE = 1024; // bytes: a minute, at 2 bytes a frame of 120 ms

/**
 * The file in pieces: the index, then all from the first sample on. The places in the index are
 * moved accordingly. A file whose samples are not in order is one piece.
 */
function chunksOf(bytes: Uint8Array, moov: Span, table: Span | undefined): Iterable<Uint8Array> {
  const index = bytes.slice(moov[0] - 8, moov[1]);
  const view = new DataView(index.buffer);
  view.setUint32(0, index.length);
  index.set([0x6d, 0x6f, 0x6f, 0x76], 4);
  let first = Infinity;
  for (const track of boxesIn(view, [8, index.length], "trak"))
    for (const { table: box, read } of placeTables(view, boxAt(view, track, "mdia", "minf", "stbl")))
      for (const at of entries(view, box, 4, read.size)) first = Math.min(first, read.get(at));
  if (first === Infinity) return startingWith(bytes.subarray(0, moov[1]), bytes.subarray(moov[1]));
  const moved: Span | undefined = table && [table[0] - moov[0] + 8, table[1] - moov[0] + 8];
  let end = bytes.length;
  if (moved) {
    shorten(view, moved);
    let last = 0;
    for (const { table: box, read } of placeTables(view, moved)) {
      for (const at of entries(view, box, 4, read.size)) {
        if (read.get(at) < last) return [bytes];
        last = read.get(at);
      }
    }
    end = last + totalSize(view, moved);
  }
  for (const track of boxesIn(view, [8, index.length], "trak"))
    for (const { table: box, read } of placeTables(view, boxAt(view, track, "mdia", "minf", "stbl")))
      for (const at of entries(view, box, 4, read.size)) read.set(at, read.get(at) - first + index.length);
  return startingWith(index, bytes.subarray(first, end));
}

/** Bytes of all samples of a track. */
function totalSize(view: DataView, table: Span): number {
  const sizes = boxAt(view, table, "stsz");
  if (!sizes || sizes[0] + 12 > sizes[1]) return 0;
  const uniform = view.getUint32(sizes[0] + 4);
  if (uniform > 0) return uniform * view.getUint32(sizes[0] + 8);
  let sum = 0;
  for (const at of entries(view, sizes, 8, 4)) sum += view.getUint32(at);
  return sum;
}

/**
 * Cuts the counts of chunks and runs to that of the samples: the decoder holds each in an array.
 */
function shorten(view: DataView, table: Span): void {
  const sizes = boxAt(view, table, "stsz");
  if (!sizes || sizes[0] + 12 > sizes[1]) return;
  const samples = view.getUint32(sizes[0] + 8);
  for (const id of ["stco", "co64", "stsc"])
    for (const [begin, end] of boxesIn(view, table, id))
      if (begin + 8 <= end) view.setUint32(begin + 4, Math.min(samples, view.getUint32(begin + 4)));
}

function* startingWith(head: Uint8Array, rest: Uint8Array): Generator<Uint8Array> {
  yield head;
  yield* bySize(rest, PIECE);
}

/** Reads and writes the places in a table. */
interface Places {
  readonly size: number;
  get(at: number): number;
  set(at: number, place: number): void;
}

/** The tables of a track's index that name places of the file. */
function* placeTables(
  view: DataView,
  table: Span | undefined,
): Generator<{ readonly table: Span; readonly read: Places }> {
  if (!table) return;
  const narrow: Places = {
    size: 4,
    get: (at) => view.getUint32(at),
    set: (at, place) => view.setUint32(at, place),
  };
  const wide: Places = {
    size: 8,
    get: (at) => Number(view.getBigUint64(at)),
    set: (at, place) => view.setBigUint64(at, BigInt(place)),
  };
  for (const box of boxesIn(view, table, "stco")) yield { table: box, read: narrow };
  for (const box of boxesIn(view, table, "co64")) yield { table: box, read: wide };
}

/** Steps in which the decoder finds the samples: for each chunk it searches all runs. */
function lookUps(view: DataView, table: Span): number {
  const count = (id: string): number => {
    const box = boxAt(view, table, id);
    return box && box[0] + 8 <= box[1] ? view.getUint32(box[0] + 4) : 0;
  };
  return Math.max(count("stco"), count("co64")) * count("stsc");
}
