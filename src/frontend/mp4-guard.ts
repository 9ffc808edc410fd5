import { viewOf } from "./spans.js";
import { AudioError, fetchAgain } from "./errors.js";
import { chunkId } from "./chunks.js";
import { boxAt, boxId as id, type Span } from "./mp4-boxes.js";

/**
 * A table's bytes between its id and its entries (the last four are the count), and those of an
 * entry.
 */
interface Table {
  readonly header: number;
  readonly entry: (view: DataView, body: number) => number;
}

const fixed = (header: number, entry: number): Table => ({ header, entry: () => entry });

const TABLES: Readonly<Record<string, Table>> = {
  stco: fixed(8, 4),
  co64: fixed(8, 8),
  stsc: fixed(8, 12),
  stts: fixed(8, 8),
  elst: { header: 8, entry: (view, body) => (view.getUint8(body) === 1 ? 20 : 12) },
  // A size for each sample, or one for all.
  stsz: { header: 12, entry: (view, body) => (view.getUint32(body + 4) === 0 ? 4 : 0) },
  trun: { header: 8, entry: trunEntry },
};

/** Boxes that may follow the index and the first samples. */
const BOXES = new Set(
  "moof mdat free skip wide uuid meta udta mfra sidx ssix styp emsg prft moov pnot".split(" "),
);

/** The part of a file that its boxes fill. */
export interface Mp4Extent {
  /** Where the last whole box ends, or the file, where that cuts the samples. */
  readonly end: number;
  readonly damage: string | undefined;
}

/**
 * Refuses an MP4 that was cut short before its index, and one whose sample tables claim more
 * entries than their bytes can hold: the decoder allocates what they claim.
 * @param bytes  the whole file; `ftyp` at byte 4
 * @returns the extent of its boxes, and the damage of a file that was cut behind its index
 * @throws AudioError  naming the box or table, the size or entries that fit and those claimed
 * @source ISO/IEC 14496-12, sections 8.6.1, 8.6.6, 8.7.3 to 8.7.5, 8.8.8
 */
export function checkMp4Tables(bytes: Uint8Array, name: string): Mp4Extent {
  const view = viewOf(bytes);
  let [indexed, filled, cut] = [false, false, false];
  let at = 0;
  while (at + 8 <= bytes.length) {
    const type = id(bytes, at + 4);
    let size = view.getUint32(at);
    const isData = type === "mdat";
    if (size === 1 && at + 16 <= bytes.length) size = view.getUint32(at + 12);
    if (size < 8) size = bytes.length - at; // 0 is "to the end of the file"
    const left = bytes.length - at;
    if (size > left && isData && indexed) {
      size = left;
      cut = true;
    }
    if (size > left && indexed && filled) {
      cut = BOXES.has(type); // else a tag or other bytes
      break;
    }
    if (size > left) {
      throw new AudioError(
        name,
        `size of the box at byte ${at}`,
        `at most ${left}, the bytes left (is the file cut short?)`,
        size,
        fetchAgain,
      );
    }
    const end = at + size;
    const tags = type === "moov" ? tagsIn(view, [at + 8, end]) : undefined;
    if (!isData) checkTablesIn(bytes, view, at, tags?.[0] ?? end, name);
    if (tags) checkTablesIn(bytes, view, tags[1], end, name);
    indexed ||= type === "moov";
    filled ||= isData;
    at = end;
  }
  return { end: Math.min(at, bytes.length), damage: cut ? "cut short: its last box ends early" : undefined };
}

/**
 * The cover and other tags. They may hold a table's id by chance; the decoder does not look there.
 */
function tagsIn(view: DataView, moov: Span): Span | undefined {
  const meta = boxAt(view, moov, "udta", "meta");
  return meta && boxAt(view, [meta[0] + 4, meta[1]], "ilst"); // after version and flags
}

const TABLE_WORDS = new Map(Object.keys(TABLES).map((key) => [chunkId(key), key]));

/** 1 at the bytes that end a table's id. */
const ENDS = Uint8Array.from({ length: 256 }, (_, byte) =>
  Number([...TABLE_WORDS.keys()].some((key) => (key & 255) === byte)),
);

/** Takes every place with a table's id for that table: damaged boxes cannot hide one. */
function checkTablesIn(bytes: Uint8Array, view: DataView, start: number, end: number, name: string): void {
  let last = 0; // four bytes up to `at`
  for (let to = start; to + 8 < end; to++) {
    last = (last << 8) | bytes[to];
    if (ENDS[bytes[to]] === 0) continue;
    const key = TABLE_WORDS.get(last);
    if (key === undefined || to < start + 3) continue;
    const at = to - 3;
    const { header, entry } = TABLES[key];
    const body = at + 4;
    if (body + header > bytes.length) continue;
    const count = view.getUint32(body + header - 4);
    const room = bytes.length - body - header;
    const each = entry(view, body);
    const uniform = key === "stsz" ? view.getUint32(body + 4) : 1;
    const fits = Math.floor(each > 0 ? room / each : bytes.length / uniform);
    if (count > fits)
      throw new AudioError(
        name,
        `${key}.entryCount`,
        `at most ${fits}, what the file can hold`,
        count,
        fetchAgain,
      );
  }
}

/**
 * Four bytes for each of the sample duration, size, flags and time offset that the run's flags
 * announce.
 */
function trunEntry(view: DataView, body: number): number {
  const flags = view.getUint32(body) & 0xffffff;
  return 4 * [0x100, 0x200, 0x400, 0x800].filter((bit) => (flags & bit) !== 0).length;
}
