import { show } from "../../json.js";
import { type CheckpointError, checkpointError } from "../../formats/errors.js";
import type { GgufCursor } from "./cursor.js";

interface ValueType {
  readonly name: string;
  /** Bytes of a scalar, or the fewest of a string or an array. */
  readonly size: number;
  readonly read?: (view: DataView, at: number) => number | bigint;
}

const STRING = 8;
const ARRAY = 9;
const BOOL = 7;

/** Value types by number. @source ggml `docs/gguf.md`, gguf_metadata_value_type */
const TYPES: readonly ValueType[] = [
  { name: "u8", size: 1, read: (v, at) => v.getUint8(at) },
  { name: "i8", size: 1, read: (v, at) => v.getInt8(at) },
  { name: "u16", size: 2, read: (v, at) => v.getUint16(at, true) },
  { name: "i16", size: 2, read: (v, at) => v.getInt16(at, true) },
  { name: "u32", size: 4, read: (v, at) => v.getUint32(at, true) },
  { name: "i32", size: 4, read: (v, at) => v.getInt32(at, true) },
  { name: "f32", size: 4, read: (v, at) => v.getFloat32(at, true) },
  { name: "bool", size: 1 },
  { name: "string", size: 8 },
  { name: "array", size: 12 },
  { name: "u64", size: 8, read: (v, at) => v.getBigUint64(at, true) },
  { name: "i64", size: 8, read: (v, at) => v.getBigInt64(at, true) },
  { name: "f64", size: 8, read: (v, at) => v.getFloat64(at, true) },
];

/** An array of the metadata. Its items stay in the header's bytes until they are read. */
export interface GgufArray {
  /** Type of its items: "i32", "string" ... */
  readonly type: string;
  readonly length: number;
  /** From the start of the file to the first item. */
  readonly offset: number;
}

/** A value of the metadata. Integers above 2^53 are bigints. */
export type GgufValue = number | bigint | boolean | string | GgufArray;

/** A value with the name of its type, which `positive` needs for f32. */
interface TypedValue {
  readonly type: string;
  readonly value: GgufValue;
}

/**
 * Reads one value: u32 type, then the value. The items of an array are only skipped.
 * @throws CheckpointError
 */
export function readValue(cursor: GgufCursor, field: string): TypedValue {
  const type = readType(cursor, field);
  const kind = TYPES[type];
  if (type === ARRAY) return { type: kind.name, value: walkArray(cursor, field) };
  if (type === STRING) return { type: kind.name, value: cursor.string(field) };
  if (type === BOOL) return { type: kind.name, value: readBool(cursor, field) };
  return { type: kind.name, value: narrow(cursor.scalar(field, kind.size, kind.read!)) };
}

function readType(cursor: GgufCursor, field: string): number {
  const type = cursor.u32(field);
  if (type < TYPES.length) return type;
  throw cursor.refusal(field, `a value type of 0..${TYPES.length - 1}`, String(type));
}

function readBool(cursor: GgufCursor, field: string): boolean {
  const byte = cursor.u8(field);
  if (byte > 1) throw cursor.refusal(field, "a bool of 0 or 1", String(byte));
  return byte === 1;
}

function narrow(value: number | bigint): number | bigint {
  return typeof value === "bigint" && BigInt(Number(value)) === value && Number.isSafeInteger(Number(value))
    ? Number(value)
    : value;
}

function walkArray(cursor: GgufCursor, field: string): GgufArray {
  const type = readType(cursor, field);
  if (type === ARRAY)
    throw cursor.refusal(field, "an array of scalars or strings, as ggml demands", "an array of arrays");
  const { name, size } = TYPES[type];
  const room = Math.floor(Math.max(0, cursor.left - 8) / size);
  const length = cursor.count(field, room, `as many ${name} items as the rest of the file has room for`);
  const offset = cursor.at;
  if (type === STRING) for (let i = 0; i < length; i++) cursor.skipString(field);
  else cursor.take(length * size, field);
  return { type: name, length, offset };
}

/** Typed reads of a GGUF file's metadata. Every error names the file and the key. */
export class GgufMetadata {
  readonly #values: ReadonlyMap<string, TypedValue>;
  readonly #header: GgufCursor;

  /** @param header  a cursor over the header, for the items of arrays */
  constructor(
    readonly file: string,
    values: ReadonlyMap<string, TypedValue>,
    header: GgufCursor,
  ) {
    this.#values = values;
    this.#header = header;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  value(key: string): GgufValue | undefined {
    return this.#values.get(key)?.value;
  }

  /** An integer of at least `least`. */
  integer(key: string, least: 0 | 1 = 1): number {
    const value = this.value(key);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
    throw this.refusal(key, least === 0 ? "a non-negative integer" : "a positive integer");
  }

  /** A positive number. An f32 becomes its shortest decimal: 1e-6, not 9.999999974752427e-7. */
  positive(key: string): number {
    const typed = this.#values.get(key);
    const value = typed?.value;
    if (typeof value === "number" && Number.isFinite(value) && value > 0)
      return typed?.type === "f32" ? shortest(value) : value;
    throw this.refusal(key, "a positive number");
  }

  string(key: string): string {
    const value = this.value(key);
    if (typeof value === "string") return value;
    throw this.refusal(key, "a string");
  }

  strings(key: string): string[] {
    const { length, offset } = this.#array(key, ["string"]);
    const cursor = this.#header.from(offset);
    const items = `${field(key)} items`;
    return Array.from({ length }, () => cursor.string(items));
  }

  integers(key: string): number[] {
    return this.#numbers(key, ["u8", "i8", "u16", "i16", "u32", "i32"]);
  }

  /** Non-negative integers of any type. */
  counts(key: string): number[] {
    const counts = this.#numbers(key, ["u32", "i32", "u64", "i64"]);
    if (counts.every((count) => Number.isSafeInteger(count) && count >= 0)) return counts;
    throw this.refusal(key, "non-negative integers");
  }

  /** The bytes of an array of u8. */
  bytes(key: string): Uint8Array {
    const { length, offset } = this.#array(key, ["u8"]);
    return this.#header.from(offset).bytes(field(key), length);
  }

  /** All values as text; arrays by type and length. */
  texts(): Map<string, string> {
    return new Map([...this.#values].map(([key, { value }]) => [key, text(value)]));
  }

  /** The error for a key's value. */
  refusal(key: string, expected: string, advice?: string): CheckpointError {
    const value = this.value(key);
    const got = typeof value === "object" || typeof value === "bigint" ? text(value) : show(value);
    return checkpointError(this.file, field(key), expected, got, advice);
  }

  #numbers(key: string, types: readonly string[]): number[] {
    const { type, length, offset } = this.#array(key, types);
    const { size, read } = TYPES.find((t) => t.name === type)!;
    const cursor = this.#header.from(offset);
    return Array.from({ length }, () => Number(cursor.scalar(key, size, read!)));
  }

  #array(key: string, types: readonly string[]): GgufArray {
    const value = this.value(key);
    if (typeof value === "object" && types.includes(value.type)) return value;
    throw this.refusal(key, `an array of ${types.join(" or ")}`);
  }
}

function field(key: string): string {
  return `metadata ${show(key)}`;
}

function text(value: GgufValue): string {
  return typeof value === "object" ? `an array of ${value.length} ${value.type}` : String(value);
}

function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
