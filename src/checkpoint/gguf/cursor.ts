import { type CheckpointError, checkpointError } from "../../formats/errors.js";

/** Shared by all strings: a header has 300,000. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Thrown when the header continues after the bytes that were read; more are then read. */
export class HeaderContinues extends Error {}

/** The file of a cursor. */
export interface CursorFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Most bytes of a header. */
  readonly limit: number;
}

/** Reads little-endian fields from the first bytes of a file. */
export class GgufCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: CursorFile;
  #at = 0;

  /** @param bytes  the first bytes of the file */
  constructor(bytes: Uint8Array, file: CursorFile) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
  }

  get at(): number {
    return this.#at;
  }

  /** A cursor over the same bytes, at byte `at`. */
  from(at: number): GgufCursor {
    const cursor = new GgufCursor(this.#bytes, this.#file);
    cursor.#at = at;
    return cursor;
  }

  /** Bytes of the file from here on. */
  get left(): number {
    return this.#file.size - this.#at;
  }

  /** Skips `length` bytes and returns their start. @throws CheckpointError  the file is shorter */
  take(length: number, field: string): number {
    const start = this.#at;
    const end = start + length;
    if (end > this.#bytes.byteLength) {
      if (end > this.#file.size)
        throw this.refusal(field, `${length} bytes`, `${this.left} left in the file`);
      const { limit } = this.#file;
      if (end > limit)
        throw this.refusal(field, `a header of at most ${limit} bytes`, `one that reaches byte ${end}`);
      throw new HeaderContinues();
    }
    this.#at = end;
    return start;
  }

  u8(field: string): number {
    return this.#view.getUint8(this.take(1, field));
  }

  u32(field: string): number {
    return this.#view.getUint32(this.take(4, field), true);
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.take(8, field), true);
  }

  /** A u64 of at most `most`. @throws CheckpointError  a larger one */
  count(field: string, most: number, why: string): number {
    const value = this.u64(field);
    if (value > BigInt(Math.max(0, most)))
      throw this.refusal(field, `at most ${most}, ${why}`, String(value));
    return Number(value);
  }

  /** The next `length` bytes, as a view. */
  bytes(field: string, length: number): Uint8Array {
    const start = this.take(length, field);
    return this.#bytes.subarray(start, start + length);
  }

  /** Runs `read` on the view at the next `length` bytes. */
  scalar<T>(field: string, length: number, read: (view: DataView, at: number) => T): T {
    return read(this.#view, this.take(length, field));
  }

  /** Skips a string: u64 length, bytes. @returns its length in bytes */
  skipString(field: string): number {
    const start = this.take(8, field);
    // two halves: a bigint for each of 300,000 strings would cost more than the rest of the header
    const length = this.#view.getUint32(start, true) + this.#view.getUint32(start + 4, true) * 2 ** 32;
    this.take(length, field);
    return length;
  }

  /** A string of at most `most` bytes. @throws CheckpointError  a longer one, or not UTF-8 */
  string(field: string, most = Infinity): string {
    const start = this.#at + 8;
    const length = this.skipString(field);
    if (length > most) throw this.refusal(field, `at most ${most} bytes`, `${length} bytes`);
    try {
      return utf8.decode(this.#bytes.subarray(start, start + length));
    } catch {
      throw this.refusal(field, "UTF-8", "other bytes", "the file is damaged");
    }
  }

  refusal(field: string, expected: string, got: string, advice?: string): CheckpointError {
    return checkpointError(this.#file.name, field, expected, got, advice);
  }
}
