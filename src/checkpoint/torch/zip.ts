import { show } from "../../json.js";
import { type CheckpointError, checkpointError } from "../../formats/errors.js";
import { decodeUtf8 } from "../source.js";
import type { ByteSource } from "../source.js";

/** One stored entry of a zip archive. */
export interface ZipEntry {
  readonly name: string;
  /** From the start of the file to the first byte. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Longest central directory, bytes: an entry has about 80. */
const MAX_DIRECTORY_BYTES = 16 << 20;
/** Most entries. A checkpoint with 1,347 tensors and their optimiser has about 6,000. */
const MAX_ENTRIES = 32_768;

const END = 0x06054b50; // "PK\5\6"
const END_64 = 0x06064b50;
const END_64_LOCATOR = 0x07064b50;
const DIRECTORY = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const IN_ZIP64 = 0xffffffff;

/**
 * The entries of a zip archive, which must be neither compressed nor encrypted, as PyTorch writes
 * them. Reads only the directory and each entry's header.
 * @returns  entries by name
 * @throws CheckpointError  the archive is damaged, or entries overlap, are outside the archive or
 *   occur twice
 * @source PKWARE APPNOTE 6.3.10. npm's yauzl (3.4) needs Node's streams. unzipit (2.1) and zip.js
 *   (2.24) read no range of an entry, and read a directory of any length that the file claims.
 */
export async function openZip(source: ByteSource): Promise<ReadonlyMap<string, ZipEntry>> {
  const { offset, byteLength, entries: count } = await findDirectory(source);
  const reader = new Reader(source, await source.read(offset, byteLength), "zip directory");
  const headers: Header[] = [];
  while (reader.left > 0 && headers.length < count) headers.push(readHeader(reader));
  const got = reader.left > 0 ? "more" : String(headers.length);
  if (headers.length !== count || reader.left > 0) throw reader.refuse(`${count} entries`, got, CUT_SHORT);
  const entries = new Map<string, ZipEntry>();
  for (const header of headers) {
    if (entries.has(header.name)) throw reader.refuse("every entry once", `${show(header.name)} twice`);
    entries.set(header.name, await readLocal(source, header, offset));
  }
  checkOverlap(source, [...entries.values()]);
  return entries;
}

/** Position and size of the central directory. */
interface Directory {
  readonly offset: number;
  readonly byteLength: number;
  readonly entries: number;
}

interface Header {
  readonly name: string;
  readonly nameBytes: number;
  readonly headerOffset: number;
  readonly byteLength: number;
}

const CUT_SHORT = "the file is cut short, or is no zip archive";

/** Reads the zip64 record, or the end record, which a comment may follow. */
async function findDirectory(source: ByteSource): Promise<Directory> {
  const field = "zip end record";
  const refuse = (expected: string, got: string): CheckpointError =>
    checkpointError(source.name, field, expected, got, CUT_SHORT);
  const tailBytes = Math.min(source.size, END_BYTES + LONGEST_COMMENT);
  const start = source.size - tailBytes;
  const tail = await source.read(start, tailBytes);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  const isEnd = (i: number): boolean =>
    view.getUint32(i, true) === END && view.getUint16(i + 20, true) === tailBytes - i - END_BYTES;
  let record = tailBytes - END_BYTES;
  while (record >= 0 && !isEnd(record)) record--;
  if (record < 0) throw refuse("one", "none");
  const end = start + record;
  const directory = (await findDirectory64(source, end)) ?? {
    entries: view.getUint16(record + 10, true),
    byteLength: view.getUint32(record + 12, true),
    offset: view.getUint32(record + 16, true),
  };
  const { entries, byteLength, offset } = directory;
  if (byteLength > MAX_DIRECTORY_BYTES)
    throw refuse(`a directory of at most ${MAX_DIRECTORY_BYTES} bytes`, `${byteLength} bytes`);
  if (entries > MAX_ENTRIES) throw refuse(`at most ${MAX_ENTRIES} entries`, String(entries));
  if (offset + byteLength > end)
    throw refuse(`a directory inside the ${end} bytes before it`, `${byteLength} bytes at ${offset}`);
  return directory;
}

/** Reads the zip64 record, if a locator in the 20 bytes before the end record points to one. */
async function findDirectory64(source: ByteSource, end: number): Promise<Directory | undefined> {
  if (end < 20) return undefined;
  const locator = new Reader(source, await source.read(end - 20, 20), "zip64 locator");
  if (locator.u32() !== END_64_LOCATOR) return undefined;
  locator.skip(4);
  const offset = locator.u64();
  if (offset + 56 > end - 20)
    throw locator.refuse(`a record inside the first ${end - 20} bytes`, String(offset));
  const record = new Reader(source, await source.read(offset, 56), "zip64 end record");
  if (record.u32() !== END_64) throw record.refuse("one where the locator says", "none");
  record.skip(28);
  const entries = record.u64();
  const byteLength = record.u64();
  return { entries, byteLength, offset: record.u64() };
}

/** One header of the central directory. */
function readHeader(reader: Reader): Header {
  if (reader.u32() !== DIRECTORY) throw reader.refuse("an entry's header", "other bytes", CUT_SHORT);
  reader.skip(4);
  const flags = reader.u16();
  const method = reader.u16();
  reader.skip(8);
  const compressed = reader.u32();
  const size = reader.u32();
  const [nameBytes, extraBytes, commentBytes] = [reader.u16(), reader.u16(), reader.u16()];
  reader.skip(8);
  const headerOffset = reader.u32();
  const name = reader.text(nameBytes);
  const large = readExtra(reader, extraBytes, [size, compressed, headerOffset]);
  reader.skip(commentBytes);
  const expected = `entry ${show(name)} stored as it is`;
  const advice = "torch.save never compresses; TorchScript does: save the state dict";
  if (flags & 1) throw reader.refuse(expected, "an encrypted one");
  if (method !== 0) throw reader.refuse(expected, `compression method ${method}`, advice);
  if (large[0] !== large[1]) throw reader.refuse(expected, `${large[1]} bytes for ${large[0]}`);
  return { name, nameBytes, byteLength: large[0], headerOffset: large[2] };
}

/** Reads the fields that need more than 32 bits from the zip64 extra field. */
function readExtra(reader: Reader, length: number, fields: readonly number[]): number[] {
  const extra = reader.part(length);
  let found: number[] | undefined;
  while (extra.left >= 4) {
    const id = extra.u16();
    const field = extra.part(extra.u16());
    if (id === 1) found ??= fields.map((value) => (value === IN_ZIP64 ? field.u64() : value));
  }
  return found ?? [...fields];
}

/** Reads the header before an entry's bytes, to find their start. */
async function readLocal(source: ByteSource, header: Header, directory: number): Promise<ZipEntry> {
  const { name, nameBytes, headerOffset, byteLength } = header;
  const field = `entry ${show(name)}`;
  const outside = (): CheckpointError =>
    checkpointError(
      source.name,
      field,
      `bytes before the zip directory at ${directory}`,
      `${byteLength} bytes after the header at ${headerOffset}`,
      CUT_SHORT,
    );
  if (headerOffset + 30 + nameBytes > directory) throw outside();
  const local = new Reader(source, await source.read(headerOffset, 30 + nameBytes), field);
  if (local.u32() !== LOCAL) throw local.refuse(`a header at ${headerOffset}`, "other bytes", CUT_SHORT);
  local.skip(2);
  if (local.u16() & 1 || local.u16() !== 0)
    throw local.refuse("stored as it is", "another header than in the directory");
  local.skip(16);
  const [localNameBytes, extraBytes] = [local.u16(), local.u16()];
  const localName = localNameBytes === nameBytes ? local.text(nameBytes) : undefined;
  if (localName !== name) throw local.refuse("the same name in the header before it", show(localName));
  const offset = headerOffset + 30 + nameBytes + extraBytes;
  if (offset + byteLength > directory) throw outside();
  return { name, offset, byteLength };
}

function checkOverlap(source: ByteSource, entries: ZipEntry[]): void {
  entries.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  for (const [i, { name, offset }] of entries.entries()) {
    const before = entries[i - 1];
    if (i === 0 || before.offset + before.byteLength <= offset) continue;
    const expected = `bytes of its own`;
    const got = `some of ${show(before.name)}'s`;
    throw checkpointError(source.name, `entry ${show(name)}`, expected, got);
  }
}

/** Reads little-endian fields in sequence. Every error names the record. */
class Reader {
  readonly #source: ByteSource;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #field: string;
  #at = 0;

  constructor(source: ByteSource, bytes: Uint8Array, field: string) {
    this.#source = source;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#field = field;
  }

  get left(): number {
    return this.#bytes.byteLength - this.#at;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** A u64 below 2^53. */
  u64(): number {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.refuse("a number below 2^53", String(value));
    return Number(value);
  }

  text(length: number): string {
    const start = this.#take(length);
    return decodeUtf8(this.#bytes.subarray(start, start + length), this.#source.name, `${this.#field} name`);
  }

  /** A reader of the next `length` bytes. */
  part(length: number): Reader {
    const start = this.#take(length);
    return new Reader(this.#source, this.#bytes.subarray(start, start + length), this.#field);
  }

  skip(length: number): void {
    this.#take(length);
  }

  refuse(expected: string, got: string, advice?: string): CheckpointError {
    return checkpointError(this.#source.name, this.#field, expected, got, advice);
  }

  #take(length: number): number {
    if (length > this.left) throw this.refuse(`${length} more bytes`, `${this.left}`, CUT_SHORT);
    const start = this.#at;
    this.#at += length;
    return start;
  }
}
