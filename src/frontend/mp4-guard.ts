import { AudioError, fetchAgain } from "./errors.js";
import { chunkId } from "./chunks.js";
import { boxAt, boxId as id, type Span } from "./mp4-boxes.js";

/** Bytes before the entries of a table (after its id) and bytes an entry; the entry count is the last u32 before them. */
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
  // One size for all samples, which then must fit the file, or a size each.
  stsz: { header: 12, entry: (view, body) => (view.getUint32(body + 4) === 0 ? 4 : 0) },
  trun: { header: 8, entry: trunEntry },
};

/** Boxes that stand behind the index and the first samples. */
const BOXES = new Set(
  "moof mdat free skip wide uuid meta udta mfra sidx ssix styp emsg prft moov pnot".split(" "),
);

/** The part of a file that its boxes fill. */
export interface Mp4Extent {
  /** Where the last whole box ends, or the file that cuts one of samples; what follows is no box. */
  readonly end: number;
  readonly damage: string | undefined;
}

/**
 * Refuses an MP4 that was cut short before its index, and one whose sample tables
 * claim more entries than their bytes can hold: the decoder allocates what they claim, and one flipped bit ends the process.
 * @param bytes  the whole file; `ftyp` at byte 4
 * @returns how far its boxes go, and what a file lost that was cut behind its index
 * @throws AudioError  naming the box or table, the size or entries that fit and those claimed
 * @source ISO/IEC 14496-12, sections 8.6.1, 8.6.6, 8.7.3 to 8.7.5, 8.8.8
 */
export function checkMp4Tables(bytes: Uint8Array, name: string): Mp4Extent {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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

/** A cover and other tags, where four bytes may be those of a table's id: no decoder looks for one there. */
function tagsIn(view: DataView, moov: Span): Span | undefined {
  const meta = boxAt(view, moov, "udta", "meta");
  return meta && boxAt(view, [meta[0] + 4, meta[1]], "ilst"); // after version and flags
}

const TABLE_WORDS = new Map(Object.keys(TABLES).map((key) => [chunkId(key), key]));

/** Every place that carries a table's id is taken for that table, so no path through damaged boxes can miss one. */
function checkTablesIn(bytes: Uint8Array, view: DataView, start: number, end: number, name: string): void {
  let last = 0; // four bytes up to `at`
  for (let to = start; to + 8 < end; to++) {
    last = (last << 8) | bytes[to];
    const byte = last & 0xff; // "o", "4", "c", "s", "t", "z", "n" end the ids
    if (
      byte !== 0x6f &&
      byte !== 0x34 &&
      byte !== 0x63 &&
      byte !== 0x73 &&
      byte !== 0x74 &&
      byte !== 0x7a &&
      byte !== 0x6e
    )
      continue;
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

/** Four bytes for each of the sample duration, size, flags and time offset that the run's flags announce. */
function trunEntry(view: DataView, body: number): number {
  const flags = view.getUint32(body) & 0xffffff;
  return 4 * [0x100, 0x200, 0x400, 0x800].filter((bit) => (flags & bit) !== 0).length;
}
