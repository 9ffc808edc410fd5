import { DTYPE_BITS, isDtype, toFloat32 } from "../../formats/dtypes.js";
import type { Dtype } from "../../formats/dtypes.js";
import { type JsonObject, isObject, show } from "../../json.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { JsonCursor } from "../json.js";
import { type ByteSource, decodeUtf8, readRange } from "../source.js";

/** Longest header, bytes. @source safetensors `tensor.rs`, MAX_HEADER_SIZE */
export const MAX_HEADER_BYTES = 100_000_000;
/** Most tensors, and most texts of the metadata: each takes about 500 bytes of memory. */
export const MAX_ENTRIES = 65_536;

/** One tensor of a safetensors file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** From the start of the file to the first byte. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An open safetensors file with a checked header. The caller closes the source. */
export interface SafetensorsFile {
  readonly source: ByteSource;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the header, and reads nothing else. A file has 8 bytes of little-endian length,
 * a JSON header of that length, then the tensors' bytes without holes. Memory is bounded by the
 * file's size.
 * @throws CheckpointError  the header is damaged, or contradicts itself or the file's size
 * @source safetensors 0.8, and in addition no name may occur twice
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const start = 8 + (await headerLength(source));
  const text = decodeUtf8(await source.read(8, start - 8), source.name, "header");
  const { tensors, metadata } = parseHeader(text, source.name, start);
  checkCoverage(source, start, tensors);
  return { source, tensors, metadata };
}

/** A tensor's entry by name. @throws CheckpointError  no such tensor */
export function findTensor(file: SafetensorsFile, name: string): TensorInfo {
  const info = file.tensors.get(name);
  if (info) return info;
  const got = `none (the file has ${file.tensors.size} tensors)`;
  throw checkpointError(file.source.name, tensorField(name), "a tensor of that name", got);
}

/**
 * Bytes [byteOffset, byteOffset + byteLength) of one tensor, little-endian, row-major.
 * @throws CheckpointError  no such tensor, or a range outside it
 */
export async function readTensor(
  file: SafetensorsFile,
  name: string,
  byteOffset = 0,
  byteLength = findTensor(file, name).byteLength - byteOffset,
): Promise<Uint8Array> {
  return readRange(file.source, findTensor(file, name), byteOffset, byteLength);
}

/** A float tensor as f32. @throws CheckpointError  no such tensor, or not a float dtype */
export async function readFloat32(file: SafetensorsFile, name: string): Promise<Float32Array> {
  return toFloat32(
    await readTensor(file, name),
    findTensor(file, name).dtype,
    `${file.source.name}: ${tensorField(name)}`,
  );
}

async function headerLength(source: ByteSource): Promise<number> {
  const refuse = (field: string, expected: string, got: string): never => {
    const advice = "the file is cut short, or is no safetensors file";
    throw checkpointError(source.name, field, expected, got, advice);
  };
  if (source.size < 8) return refuse("size", "at least 8 bytes", `${source.size} bytes`);
  const bytes = await source.read(0, 8);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES) && bytes[0] === 0x7b) {
    const [expected, got] = ["a safetensors file", 'one that begins with "{"'];
    throw checkpointError(source.name, "content", expected, got, "it is JSON");
  }
  if (length > BigInt(MAX_HEADER_BYTES)) {
    return refuse("header length", `at most ${MAX_HEADER_BYTES} bytes`, `${length} bytes`);
  }
  if (Number(length) > source.size - 8) {
    return refuse("header length", `at most the ${source.size - 8} bytes that follow it`, `${length} bytes`);
  }
  return Number(length);
}

/** One pass over the header. It keeps only the entries and the metadata. */
function parseHeader(text: string, file: string, start: number): Omit<SafetensorsFile, "source"> {
  const tensors = new Map<string, TensorInfo>();
  let metadata: ReadonlyMap<string, string> | undefined;
  const cursor = new JsonCursor(text, file, "header");
  cursor.object((name) => {
    if (name === "__metadata__") {
      cursor.unseen({ has: () => metadata !== undefined }, name);
      metadata = parseMetadata(cursor, file);
    } else {
      cursor.unseen(tensors, name);
      checkCount(file, "tensors", tensors);
      tensors.set(name, parseEntry(file, name, readFields(cursor), start));
    }
  });
  cursor.end();
  return { tensors, metadata: metadata ?? new Map() };
}

function checkCount(file: string, field: string, entries: ReadonlyMap<string, unknown>): void {
  if (entries.size < MAX_ENTRIES) return;
  throw checkpointError(file, field, `at most ${MAX_ENTRIES}`, "more");
}

/** The three fields of an entry, or the value in its place. Other fields are skipped. */
function readFields(cursor: JsonCursor): unknown {
  if (cursor.peek() !== "{") return cursor.brief();
  const fields = new Map<string, unknown>();
  cursor.object((field) => {
    if (field === "dtype" || field === "shape" || field === "data_offsets") {
      cursor.unseen(fields, field);
      fields.set(field, cursor.brief());
    } else {
      cursor.skip();
    }
  });
  return Object.fromEntries(fields);
}

function parseEntry(file: string, name: string, entry: unknown, start: number): TensorInfo {
  const refuse = (field: string | undefined, expected: string, got: string): never => {
    throw checkpointError(file, tensorField(name, field), expected, got);
  };
  if (!isObject(entry)) return refuse(undefined, "an object with dtype, shape and data_offsets", show(entry));
  const { dtype } = entry;
  if (!isDtype(dtype)) return refuse("dtype", `one of ${Object.keys(DTYPE_BITS).join(" ")}`, show(dtype));
  const shape =
    integers(entry, "shape") ?? refuse("shape", "an array of non-negative integers", show(entry["shape"]));
  const offsets = integers(entry, "data_offsets");
  if (offsets?.length !== 2 || offsets[0] > offsets[1]) {
    return refuse("data_offsets", "[begin, end] with begin <= end", show(entry["data_offsets"]));
  }
  const bits = shapeBits(shape, dtype);
  if (bits === undefined) return refuse("shape", "a product below 2^53 bits", show(shape));
  const byteLength = offsets[1] - offsets[0];
  if (bits !== byteLength * 8) {
    const expected =
      bits % 8 === 0
        ? `${bits / 8} bytes for ${dtype} ${show(shape)}`
        : `whole bytes for ${dtype} ${show(shape)}`;
    return refuse("data_offsets", expected, `${byteLength} bytes`);
  }
  return { name, dtype, shape, offset: start + offsets[0], byteLength };
}

/** Bits of a tensor, or undefined if a partial product passes 2^53, as in the reference. */
function shapeBits(shape: readonly number[], dtype: Dtype): number | undefined {
  let count = 1;
  for (const dim of shape) {
    count *= dim;
    if (count > Number.MAX_SAFE_INTEGER) return undefined;
  }
  const bits = count * DTYPE_BITS[dtype];
  return bits > Number.MAX_SAFE_INTEGER ? undefined : bits;
}

function integers(entry: JsonObject, field: string): number[] | undefined {
  const list = entry[field];
  if (!Array.isArray(list)) return undefined;
  const valid = list.every((v): v is number => typeof v === "number" && Number.isSafeInteger(v) && v >= 0);
  return valid ? list.map((v) => v + 0) : undefined; // + 0 turns -0 into 0
}

function parseMetadata(cursor: JsonCursor, file: string): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (cursor.peek() !== "{") {
    const value = cursor.brief();
    if (value === null) return metadata;
    throw checkpointError(file, "__metadata__", "an object of strings", show(value));
  }
  cursor.object((key) => {
    cursor.unseen(metadata, key);
    checkCount(file, "__metadata__", metadata);
    const text = cursor.brief();
    if (typeof text !== "string") {
      throw checkpointError(file, `__metadata__ ${show(key)}`, "a string", show(text));
    }
    metadata.set(key, text);
  });
  return metadata;
}

/** @throws CheckpointError  tensors overlap, leave a hole, or do not end with the file */
function checkCoverage(source: ByteSource, start: number, tensors: ReadonlyMap<string, TensorInfo>): void {
  const file = source.name;
  const sorted = [...tensors.values()].sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = start;
  for (const { name, offset, byteLength } of sorted) {
    if (offset !== end) {
      const what = offset < end ? "an overlap" : "a hole";
      const expected = `begin ${end - start}, where the tensor before it ends`;
      throw checkpointError(
        file,
        tensorField(name, "data_offsets"),
        expected,
        `${what}: begin ${offset - start}`,
      );
    }
    end = offset + byteLength;
    if (end > source.size) {
      const expected = `an end inside the ${source.size - start} bytes of data`;
      const advice = "the file is cut short: download it again";
      throw checkpointError(file, tensorField(name, "data_offsets"), expected, `end ${end - start}`, advice);
    }
  }
  if (end !== source.size) {
    const got = `${source.size} bytes: ${source.size - end} belong to no tensor`;
    throw checkpointError(file, "size", `${end} bytes as the header says`, got);
  }
}
