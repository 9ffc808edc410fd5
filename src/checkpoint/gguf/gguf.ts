import { show } from "../../json.js";
import { GGML_BLOCKS } from "../../formats/container.js";
import type { GgmlType } from "../../formats/container.js";
import type { Dtype } from "../../formats/dtypes.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { GgufCursor, HeaderContinues } from "./cursor.js";
import { GgufMetadata, readValue } from "./metadata.js";
import { checkRange } from "../source.js";
import type { ByteSource } from "../source.js";

/** Longest header accepted, bytes. Qwen3's, whose vocabulary and merges are in it, has 6 MB. */
export const MAX_HEADER_BYTES = 64 << 20;
/** Bytes of a tensor's name at most. @source ggml `ggml.h`, GGML_MAX_NAME, with its closing zero */
const MAX_NAME_BYTES = 63;
/** Bytes of a metadata key at most. @source ggml `docs/gguf.md` */
const MAX_KEY_BYTES = 65_535;
/** @source ggml `ggml.h`, GGML_MAX_DIMS */
const MAX_DIMS = 4;
/** Keys, and tensors, at most: each costs a hundred bytes of memory for the dozen in the file. Qwen3-8B has 30 and 399. */
const MAX_ENTRIES = 65_536;
const FIRST_READ = 8 << 20;
const DEFAULT_ALIGNMENT = 32;
const MAX_ALIGNMENT = 1 << 20;

/** One tensor of a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  readonly dtype: Dtype | GgmlType;
  /** Row-major, outermost first: the reverse of the file's order. */
  readonly shape: readonly number[];
  /** Of its first byte, from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An open GGUF file: its header, checked. Closing the source is the caller's. */
export interface GgufFile {
  readonly source: ByteSource;
  readonly version: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** Tensor types that are read. @source ggml `ggml.h`, ggml_type */
const READ: ReadonlyMap<
  number,
  { readonly dtype: Dtype | GgmlType; readonly values: number; readonly bytes: number }
> = new Map([
  [0, { dtype: "F32", values: 1, bytes: 4 }],
  [1, { dtype: "F16", values: 1, bytes: 2 }],
  [30, { dtype: "BF16", values: 1, bytes: 2 }],
  [2, { dtype: "Q4_0", ...GGML_BLOCKS.Q4_0 }],
  [3, { dtype: "Q4_1", ...GGML_BLOCKS.Q4_1 }],
  [6, { dtype: "Q5_0", ...GGML_BLOCKS.Q5_0 }],
  [7, { dtype: "Q5_1", ...GGML_BLOCKS.Q5_1 }],
  [8, { dtype: "Q8_0", ...GGML_BLOCKS.Q8_0 }],
  [12, { dtype: "Q4_K", ...GGML_BLOCKS.Q4_K }],
  [13, { dtype: "Q5_K", ...GGML_BLOCKS.Q5_K }],
  [14, { dtype: "Q6_K", ...GGML_BLOCKS.Q6_K }],
]);

/** Names of those that are not, for the refusal. */
const OTHERS: Readonly<Record<number, string>> = {
  9: "Q8_1",
  10: "Q2_K",
  11: "Q3_K",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  34: "TQ1_0",
  35: "TQ2_0",
  39: "MXFP4",
};

/**
 * Reads and checks a GGUF header of version 2 or 3, little-endian. Reads nothing else, and allocates no more than a few times what
 * the header has. Tensors must lie one after another without holes, as ggml demands.
 * @throws CheckpointError  every way in which the file is not what it says
 * @source ggml `docs/gguf.md`, `gguf.cpp`. npm's @huggingface/gguf (0.4.6) is not used: it opens URLs and paths, no ByteSource, and
 *   builds arrays item by item up to whatever length the file claims.
 */
export async function openGguf(source: ByteSource): Promise<GgufFile> {
  const limit = Math.min(source.size, MAX_HEADER_BYTES);
  for (let length = Math.min(FIRST_READ, limit); ; length = Math.min(length * 2, limit)) {
    const bytes = await source.read(0, length);
    try {
      return parse(source, bytes);
    } catch (error) {
      if (!(error instanceof HeaderContinues)) throw error;
    }
  }
}

/**
 * Bytes [byteOffset, byteOffset + byteLength) of one tensor.
 * @param into  as ByteSource.read
 * @throws CheckpointError  a range outside it
 */
export async function readGgufRange(
  source: ByteSource,
  tensor: GgufTensor,
  byteOffset: number,
  byteLength: number,
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  if (!(byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= tensor.byteLength)) {
    const expected = `a range inside its ${tensor.byteLength} bytes`;
    const got = `${byteLength} bytes at ${byteOffset}`;
    throw new CheckpointError({ file: source.name, field: tensorField(tensor.name), expected, got });
  }
  checkRange(source, tensor.offset + byteOffset, byteLength);
  return source.read(tensor.offset + byteOffset, byteLength, into);
}

function parse(source: ByteSource, bytes: Uint8Array): GgufFile {
  const file = { name: source.name, size: source.size, limit: MAX_HEADER_BYTES };
  const cursor = new GgufCursor(bytes, file);
  const version = readVersion(cursor);
  // the least that an entry has: a tensor 8 + 4 + 4 + 8 bytes, a key with its value 8 + 4 + 1
  const most = (least: number): number => Math.min(MAX_ENTRIES, Math.floor(source.size / least));
  const tensorCount = cursor.count("tensor count", most(24), "as the file has room for and a model needs");
  const keyCount = cursor.count("metadata count", most(13), "as the file has room for and a model needs");
  const values = new Map<string, ReturnType<typeof readValue>>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.string(`metadata key ${i}`, MAX_KEY_BYTES);
    const field = `metadata ${show(key)}`;
    if (values.has(key)) throw cursor.refusal(field, "every key once", "it twice");
    values.set(key, readValue(cursor, field));
  }
  const entries = new Map<string, Entry>();
  for (let i = 0; i < tensorCount; i++) {
    const entry = readEntry(cursor, i);
    if (entries.has(entry.name)) throw cursor.refusal(tensorField(entry.name), "every name once", "it twice");
    entries.set(entry.name, entry);
  }
  // a copy, so that the bytes after the header are let go
  const header = new GgufCursor(bytes.slice(0, cursor.at), file);
  const metadata = new GgufMetadata(source.name, values, header);
  return { source, version, metadata, tensors: place(source, metadata, cursor.at, entries) };
}

function readVersion(cursor: GgufCursor): number {
  const magic = cursor.u32("magic");
  if (magic !== 0x46554747) {
    const text = [0, 8, 16, 24].map((shift) => String.fromCharCode((magic >>> shift) & 0xff)).join("");
    throw cursor.refusal("magic", '"GGUF"', show(text), "this is no GGUF file");
  }
  const version = cursor.u32("version");
  if (version === 2 || version === 3) return version;
  const bigEndian = (version & 0xffff) === 0;
  throw cursor.refusal("version", "2 or 3, little-endian", bigEndian ? "a big-endian file" : String(version));
}

/** A tensor's entry, its offset still from the start of the data. */
interface Entry {
  readonly name: string;
  readonly dtype: Dtype | GgmlType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  readonly offset: bigint;
}

function readEntry(cursor: GgufCursor, index: number): Entry {
  const name = cursor.string(`tensor ${index} name`, MAX_NAME_BYTES);
  const dims = cursor.u32(tensorField(name, "dimensions"));
  if (dims > MAX_DIMS)
    throw cursor.refusal(tensorField(name, "dimensions"), `at most ${MAX_DIMS}`, String(dims));
  const sizes = Array.from({ length: dims }, () => cursor.u64(tensorField(name, "shape")));
  const type = cursor.u32(tensorField(name, "type"));
  const known = READ.get(type);
  if (!known) {
    const expected = [...READ.values()].map((t) => t.dtype).join(", ");
    const advice = type in OTHERS ? "quantise the model to one of these" : undefined;
    throw cursor.refusal(tensorField(name, "type"), expected, OTHERS[type] ?? `type ${type}`, advice);
  }
  const count = sizes.reduce((a, b) => a * b, 1n);
  const byteLength = (count / BigInt(known.values)) * BigInt(known.bytes);
  if (sizes.some((n) => n > BigInt(Number.MAX_SAFE_INTEGER)) || byteLength > BigInt(cursor.left)) {
    const expected = `a tensor inside the ${cursor.left} bytes that follow`;
    throw cursor.refusal(tensorField(name, "shape"), expected, `[${sizes.join(", ")}] of ${known.dtype}`);
  }
  const shape = sizes.map(Number).reverse();
  if ((shape.at(-1) ?? 1) % known.values !== 0) {
    const expected = `rows of whole ${known.dtype} blocks of ${known.values}`;
    throw cursor.refusal(tensorField(name, "shape"), expected, `rows of ${shape.at(-1)}`);
  }
  const offset = cursor.u64(tensorField(name, "offset"));
  return { name, dtype: known.dtype, shape, byteLength: Number(byteLength), offset };
}

/** Places the tensors in the file: each begins where the one before it ended, rounded up to the alignment. */
function place(
  source: ByteSource,
  metadata: GgufMetadata,
  headerEnd: number,
  entries: ReadonlyMap<string, Entry>,
): Map<string, GgufTensor> {
  const alignment = readAlignment(metadata);
  const up = (n: number): number => Math.ceil(n / alignment) * alignment;
  const start = up(headerEnd);
  let next = 0;
  const tensors = new Map<string, GgufTensor>();
  for (const { name, dtype, shape, byteLength, offset } of entries.values()) {
    const refuse = (expected: string, got: string): never => {
      const advice = "the file is damaged or cut short";
      throw new CheckpointError({
        file: source.name,
        field: tensorField(name, "offset"),
        expected,
        got,
        advice,
      });
    };
    if (offset !== BigInt(next)) refuse(`${next}, where the tensor before it ends`, String(offset));
    if (start + next + byteLength > source.size)
      refuse(`${byteLength} bytes at ${start + next}`, `a file of ${source.size} bytes`);
    tensors.set(name, { name, dtype, shape, offset: start + next, byteLength });
    next = up(next + byteLength);
  }
  return tensors;
}

function readAlignment(metadata: GgufMetadata): number {
  const key = "general.alignment";
  if (!metadata.has(key)) return DEFAULT_ALIGNMENT;
  const value = metadata.integer(key);
  if (value <= MAX_ALIGNMENT && Number.isInteger(Math.log2(value))) return value;
  throw metadata.refusal(key, `a power of two up to ${MAX_ALIGNMENT}`);
}
