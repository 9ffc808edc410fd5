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
 * Refuses an MP4 that was cut short, which would decode to less than it should without a word, and one whose sample tables
 * claim more entries than their bytes can hold: the decoder allocates what they claim, and one flipped bit ends the process.
 * @param bytes  the whole file; `ftyp` at byte 4
 * @throws AudioError  naming the box or table, the size or entries that fit and those claimed
 * @source ISO/IEC 14496-12, sections 8.6.1, 8.6.6, 8.7.3 to 8.7.5, 8.8.8
 */
export function checkMp4Tables(bytes: Uint8Array, name: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.length;) {
    let size = view.getUint32(at);
    const isData = id(bytes, at + 4) === "mdat";
    if (size === 1 && at + 16 <= bytes.length) size = view.getUint32(at + 12);
    if (size < 8) size = bytes.length - at; // 0 is "to the end of the file"
    const left = bytes.length - at;
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
}

/**
 * Seconds that an MP4 lasts by its movie header; 0 where it does not say, as in a fragmented file.
 * @param bytes  the whole file
 * @source ISO/IEC 14496-12, section 8.2.2
 */
export function mp4Seconds(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 36 <= bytes.length; at++) {
    if (id(bytes, at) !== "mvhd") continue;
    const wide = bytes[at + 4] === 1; // times of 64 bits
    const duration = wide ? Number(view.getBigUint64(at + 28)) : view.getUint32(at + 20);
    const seconds = duration / view.getUint32(at + (wide ? 24 : 16));
    return Number.isFinite(seconds) ? seconds : 0;
  }
  return 0;
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
