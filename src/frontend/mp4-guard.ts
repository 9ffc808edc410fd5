import { AudioError, fetchAgain } from "./errors.js";

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

/**
 * Refuses an MP4 that was cut short before its index, and one whose sample tables
 * claim more entries than their bytes can hold: the decoder allocates what they claim, and one flipped bit ends the process.
 * @param bytes  the whole file; `ftyp` at byte 4
 * @returns what a file lost that was cut within its audio; else undefined
 * @throws AudioError  naming the box or table, the size or entries that fit and those claimed
 * @source ISO/IEC 14496-12, sections 8.6.1, 8.6.6, 8.7.3 to 8.7.5, 8.8.8
 */
export function checkMp4Tables(bytes: Uint8Array, name: string): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [indexed, cut] = [false, false];
  for (let at = 0; at + 8 <= bytes.length;) {
    indexed ||= id(bytes, at + 4) === "moov";
    let size = view.getUint32(at);
    const isData = id(bytes, at + 4) === "mdat";
    if (size === 1 && at + 16 <= bytes.length) size = view.getUint32(at + 12);
    if (size < 8) size = bytes.length - at; // 0 is "to the end of the file"
    const left = bytes.length - at;
    if (size > left && isData && indexed) {
      size = left;
      cut = true;
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
    if (!isData) checkTablesIn(bytes, view, at, end, name);
    at = end;
  }
  return cut ? "cut short: its last box ends early" : undefined;
}

/**
 * Seconds that the first audio track of an MP4 lasts by its header; 0 where it does not say, as in a fragmented file.
 * @param bytes  the whole file
 * @source ISO/IEC 14496-12, sections 8.2.2, 8.3.2, 8.4.2, 8.4.3
 */
export function mp4Seconds(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const moov = boxes(bytes, view, [0, bytes.length]).find((box) => box.id === "moov");
  if (!moov) return 0;
  const inside = boxes(bytes, view, moov.body);
  const movie = inside.find((box) => box.id === "mvhd");
  for (const track of inside.filter((box) => box.id === "trak")) {
    const parts = boxes(bytes, view, track.body);
    const media = parts.find((box) => box.id === "mdia");
    const described = media ? boxes(bytes, view, media.body) : [];
    const handler = described.find((box) => box.id === "hdlr");
    if (!handler || id(bytes, handler.body[0] + 8) !== "soun") continue;
    const scale = movie ? timeOf(view, movie.body, 12).first : 0;
    const header = parts.find((box) => box.id === "tkhd");
    const length = described.find((box) => box.id === "mdhd");
    if (!header || !length) return 0;
    const { first: own, second: duration } = timeOf(view, length.body, 12);
    const seconds = Math.min(timeOf(view, header.body, 16).second / scale, duration / own);
    return Number.isFinite(seconds) ? seconds : 0;
  }
  return 0;
}

/** The word at `at` of a box of version 0, and the next (a track's header has a word between); wider in version 1. */
function timeOf(view: DataView, [begin, end]: readonly [number, number], at: number): Times {
  const wide = begin < end && view.getUint8(begin) === 1;
  const first = begin + (wide ? 8 : 0) + at;
  const second = first + 4;
  if (second + 8 > end) return { first: 0, second: 0 };
  return {
    first: view.getUint32(first),
    second: wide ? Number(view.getBigUint64(second)) : view.getUint32(second),
  };
}

interface Times {
  readonly first: number;
  readonly second: number;
}

interface Box {
  readonly id: string;
  readonly body: readonly [number, number];
}

function boxes(bytes: Uint8Array, view: DataView, [begin, end]: readonly [number, number]): Box[] {
  const found: Box[] = [];
  for (let at = begin; at + 8 <= end;) {
    const short = view.getUint32(at);
    const wide = short === 1 && at + 16 <= end;
    const size = wide ? Number(view.getBigUint64(at + 8)) : short;
    const stop = size < 8 ? end : Math.min(end, at + size);
    found.push({ id: id(bytes, at + 4), body: [at + (wide ? 16 : 8), stop] });
    at = stop;
  }
  return found;
}

/** Every place that carries a table's id is taken for that table, so no path through damaged boxes can miss one. */
function checkTablesIn(bytes: Uint8Array, view: DataView, start: number, end: number, name: string): void {
  for (let at = start; at + 12 <= end; at++) {
    const key = id(bytes, at);
    if (!Object.hasOwn(TABLES, key)) continue;
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

function id(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}
