import { crc32 } from "./crc32.js";

/** A file of a zip archive, stored as it is. */
export interface ZipFile {
  /** At most 65,535 bytes of UTF-8. */
  readonly name: string;
  /** Of all pieces together. */
  readonly byteLength: number;
  /** Called once, when the file is written. @throws if the pieces have another length */
  readonly pieces: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Data starts at a multiple of this, as in torch.save, so that it can be mapped into memory. */
const ALIGNMENT = 64;
const LIMIT_32 = 0xffffffff;
const LIMIT_16 = 0xffff;
const STREAMED = 0x808; // sizes and sum follow the data; names are UTF-8
const PADDING = 0x4246; // "FB", the extra field with which torch.save aligns data

/** What the directory says of a written file. */
interface Written {
  readonly name: Uint8Array;
  readonly byteLength: number;
  readonly offset: number;
  readonly sum: number;
}

/**
 * The bytes of a zip archive whose files are stored as they are, piece by piece: sums of files are
 * computed as they pass, and follow them. Sizes and offsets above 4 GiB and more than 65,535 files
 * take zip64.
 * @param limit  the first size or offset that takes zip64, for tests of small archives
 * @source PKWARE APPNOTE 6.3.10
 */
export async function* writeZip(
  files: readonly ZipFile[],
  limit = LIMIT_32,
): AsyncGenerator<Uint8Array, void, undefined> {
  const written: Written[] = [];
  let at = 0;
  for (const { name: text, byteLength, pieces } of files) {
    const name = new TextEncoder().encode(text);
    const offset = at;
    const header = localHeader(name, byteLength >= limit, at);
    yield header;
    at += header.length;
    let sum = 0;
    let length = 0;
    for await (const piece of pieces()) {
      sum = crc32(piece, sum);
      length += piece.byteLength;
      yield piece;
    }
    if (length !== byteLength) throw new Error(`zip: ${text}: expected ${byteLength} bytes, got ${length}`);
    const end = descriptor(sum, byteLength, byteLength >= limit);
    yield end;
    at += byteLength + end.length;
    written.push({ name, byteLength, offset, sum });
  }
  const directory = written.map((file) => directoryHeader(file, limit));
  yield* directory;
  const length = directory.reduce((total, { byteLength }) => total + byteLength, 0);
  yield endRecords(written.length, at, length, limit);
}

/** Little-endian fields. */
class Bytes {
  readonly #bytes: number[] = [];
  u16(...values: readonly number[]): this {
    for (const v of values) this.#bytes.push(v & 0xff, (v >>> 8) & 0xff);
    return this;
  }
  u32(...values: readonly number[]): this {
    for (const v of values) this.u16(v & 0xffff, v >>> 16);
    return this;
  }
  u64(...values: readonly number[]): this {
    for (const v of values) this.u32(v % 2 ** 32, Math.floor(v / 2 ** 32));
    return this;
  }
  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }
  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

function localHeader(name: Uint8Array, large: boolean, at: number): Uint8Array {
  const zip64 = large ? 20 : 0;
  const data = at + 30 + name.length + zip64 + 4; // with an empty field of padding
  const padding = (ALIGNMENT - (data % ALIGNMENT)) % ALIGNMENT;
  const head = new Bytes().u32(0x04034b50).u16(large ? 45 : 20, STREAMED, 0, 0, 0x21); // 1 January 1980
  head
    .u32(0, large ? LIMIT_32 : 0, large ? LIMIT_32 : 0)
    .u16(name.length, zip64 + 4 + padding)
    .raw(name);
  if (large) head.u16(1, 16).u64(0, 0);
  return head.u16(PADDING, padding).raw(new Uint8Array(padding).fill(0x5a)).done();
}

function descriptor(sum: number, byteLength: number, large: boolean): Uint8Array {
  const record = new Bytes().u32(0x08074b50, sum);
  return (large ? record.u64(byteLength, byteLength) : record.u32(byteLength, byteLength)).done();
}

function directoryHeader({ name, byteLength, offset, sum }: Written, limit: number): Uint8Array {
  const large = [byteLength, byteLength, offset].filter((value) => value >= limit);
  const extra = new Bytes();
  if (large.length > 0) extra.u16(1, 8 * large.length).u64(...large);
  const zip64 = extra.done();
  const capped = (value: number): number => (value >= limit ? LIMIT_32 : value);
  const version = large.length > 0 ? 45 : 20;
  const head = new Bytes().u32(0x02014b50).u16(version, version, STREAMED, 0, 0, 0x21);
  head.u32(sum, capped(byteLength), capped(byteLength)).u16(name.length, zip64.length, 0, 0, 0).u32(0);
  return head.u32(capped(offset)).raw(name).raw(zip64).done();
}

/** The end record, and before it those of zip64 if a field is too large. */
function endRecords(count: number, offset: number, byteLength: number, limit: number): Uint8Array {
  const end = new Bytes();
  const large = offset >= limit || byteLength >= limit;
  if (count >= LIMIT_16 || large) {
    end.u32(0x06064b50).u64(44).u16(45, 45).u32(0, 0).u64(count, count, byteLength, offset);
    end
      .u32(0x07064b50, 0)
      .u64(offset + byteLength)
      .u32(1);
  }
  const files = Math.min(count, LIMIT_16);
  const capped = (value: number): number => (large ? LIMIT_32 : value);
  return end.u32(0x06054b50).u16(0, 0, files, files).u32(capped(byteLength), capped(offset)).u16(0).done();
}
