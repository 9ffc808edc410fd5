import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { GgufCursor } from "../../src/checkpoint/gguf/cursor.js";
import { readValue } from "../../src/checkpoint/gguf/metadata.js";
import { openGguf } from "../../src/checkpoint/gguf/gguf.js";
import { bytesSource, memoryFiles, readRange } from "../../src/checkpoint/source.js";
import type { ModelFiles } from "../../src/checkpoint/source.js";

const FIXTURES = new URL("../fixtures/gguf/", import.meta.url);

/** A fixture made by golden/fixtures/gguf_files.py. */
export function ggufFixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(fileURLToPath(new URL(name, FIXTURES))));
}

/** The files of the fixture that was made from the tiny transformers checkpoint. */
export const GGUF_PAIR = { encoder: "funasr-encoder-f16.gguf", llm: "qwen3-tiny-bf16.gguf" } as const;

/** That pair as the directory "m", with files put in place of others or beside them. */
export function ggufPair(changes: Readonly<Record<string, Uint8Array>> = {}): ModelFiles {
  const names = Object.values(GGUF_PAIR);
  const files = new Map(names.map((name) => [name as string, ggufFixture(`pair/${name}`)]));
  for (const [name, bytes] of Object.entries(changes)) files.set(name, bytes);
  return memoryFiles("m", files);
}

/** Numbers of the metadata's types. */
export const T = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

/** Writes little-endian fields one after another. */
export class Bytes {
  readonly #parts: Uint8Array[] = [];

  u32(value: number): this {
    return this.#push(new Uint8Array(Uint32Array.of(value).buffer));
  }

  f32(value: number): this {
    return this.#push(new Uint8Array(Float32Array.of(value).buffer));
  }

  u64(value: number | bigint): this {
    return this.#push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  string(text: string | Uint8Array): this {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    return this.u64(bytes.length).#push(bytes);
  }

  raw(...bytes: number[]): this {
    return this.bytes(Uint8Array.from(bytes));
  }

  bytes(bytes: Uint8Array): this {
    return this.#push(bytes);
  }

  zeros(count: number): this {
    return this.#push(new Uint8Array(count));
  }

  get size(): number {
    return this.#parts.reduce((sum, part) => sum + part.length, 0);
  }

  done(): Uint8Array {
    const out = new Uint8Array(this.size);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  #push(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }
}

/**
 * One key with its value: a string, a u32, an array of strings or of i32, or bytes written by hand.
 */
export type Value = string | number | readonly string[] | readonly number[] | ((b: Bytes) => void);

export interface RawTensor {
  readonly name: string | Uint8Array;
  /** In the file's order, innermost first. */
  readonly dims: readonly (number | bigint)[];
  readonly type: number;
  readonly offset: number | bigint;
}

export interface RawGguf {
  readonly magic?: readonly number[];
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly keyCount?: number | bigint;
  readonly values?: readonly (readonly [string | Uint8Array, Value])[];
  readonly tensors?: readonly RawTensor[];
  /** Zero bytes after the header. */
  readonly data?: number;
}

/** A GGUF file of any contents, right or wrong. */
export function rawGguf(file: RawGguf): Uint8Array {
  const { values = [], tensors = [] } = file;
  const b = new Bytes().raw(...(file.magic ?? [0x47, 0x47, 0x55, 0x46])).u32(file.version ?? 3);
  b.u64(file.tensorCount ?? tensors.length).u64(file.keyCount ?? values.length);
  for (const [key, value] of values) writeValue(b.string(key), value);
  for (const { name, dims, type, offset } of tensors) {
    b.string(name).u32(dims.length);
    for (const dim of dims) b.u64(dim);
    b.u32(type).u64(offset);
  }
  return b.zeros(file.data ?? 0).done();
}

function writeValue(b: Bytes, value: Value): void {
  if (typeof value === "function") value(b);
  else if (typeof value === "string") b.u32(T.string).string(value);
  else if (typeof value === "number") b.u32(T.u32).u32(value);
  else if (typeof value[0] === "number") {
    b.u32(T.array).u32(T.i32).u64(value.length);
    for (const item of value) b.u32(Number(item));
  } else {
    b.u32(T.array).u32(T.string).u64(value.length);
    for (const item of value) b.string(String(item));
  }
}

/** What a tensor holds: a type's number in the file, and its bytes. */
export interface Retyped {
  readonly type: number;
  readonly data: Uint8Array;
}

/** A tensor to be written. */
export interface WholeTensor extends Retyped {
  readonly name: string;
  /** Outermost first. */
  readonly shape: readonly number[];
}

/** A GGUF file of these keys, as keyBytes gives or `key` makes them, and tensors. */
export function wholeGguf(keys: readonly Uint8Array[], tensors: readonly WholeTensor[]): Uint8Array {
  const b = new Bytes().raw(0x47, 0x47, 0x55, 0x46).u32(3).u64(tensors.length).u64(keys.length);
  for (const key of keys) b.bytes(key);
  let offset = 0;
  for (const { name, shape, type, data } of tensors) {
    b.string(name).u32(shape.length);
    for (const size of [...shape].reverse()) b.u64(size);
    b.u32(type).u64(offset);
    offset += Math.ceil(data.length / 32) * 32;
  }
  b.zeros(-b.size & 31);
  for (const { data } of tensors) b.bytes(data).zeros(-data.length & 31);
  return b.done();
}

/** One key of the metadata with its value. */
export function key(name: string, value: Value): Uint8Array {
  const b = new Bytes().string(name);
  writeValue(b, value);
  return b.done();
}

/** The keys of a GGUF file, each with its value as it lies there. */
export function keyBytes(bytes: Uint8Array): Map<string, Uint8Array> {
  const size = bytes.length;
  const cursor = new GgufCursor(bytes, { name: "x", size, limit: size }).from(16);
  const count = Number(cursor.u64("count"));
  const keys = new Map<string, Uint8Array>();
  for (let i = 0; i < count; i++) {
    const { at } = cursor;
    const name = cursor.string("key");
    readValue(cursor, name);
    keys.set(name, bytes.subarray(at, cursor.at));
  }
  return keys;
}

const NUMBERS: Readonly<Record<string, number>> = {
  F32: 0,
  F16: 1,
  BF16: 30,
  Q8_0: 8,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
};

/** The tensors of a GGUF file. */
export async function tensorsOf(bytes: Uint8Array): Promise<WholeTensor[]> {
  const file = await openGguf(bytesSource("x", bytes));
  return Promise.all(
    [...file.tensors.values()].map(async (tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      type: NUMBERS[tensor.dtype],
      data: await readRange(file.source, tensor, 0, tensor.byteLength),
    })),
  );
}

/**
 * A GGUF file with the same metadata and names, and other contents of the tensors for which
 * `change` gives some.
 */
export async function rewriteGguf(
  bytes: Uint8Array,
  change: (name: string, shape: readonly number[]) => Retyped | undefined,
): Promise<Uint8Array> {
  const tensors = (await tensorsOf(bytes)).map((t) => ({ ...t, ...change(t.name, t.shape) }));
  return wholeGguf([...keyBytes(bytes).values()], tensors);
}
