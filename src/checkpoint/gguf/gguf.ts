import { show } from "../../json.js";
import { GGML_BLOCKS } from "../../formats/container.js";
import type { GgmlType } from "../../formats/container.js";
import type { Dtype } from "../../formats/dtypes.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { GgufCursor, HeaderContinues } from "./cursor.js";
import { GgufMetadata, readValue } from "./metadata.js";
import type { ByteSource } from "../source.js";

/** Longest header, bytes. Qwen3's has 6 MB with its vocabulary and merges. */
export const MAX_HEADER_BYTES = 64 << 20;
/**
 * Longest name of a tensor, bytes.
 * @source ggml `ggml.h`, GGML_MAX_NAME without its closing zero
 */
const MAX_NAME_BYTES = 63;
/** Longest metadata key, bytes. @source ggml `docs/gguf.md` */
const MAX_KEY_BYTES = 65_535;
/** @source ggml `ggml.h`, GGML_MAX_DIMS */
const MAX_DIMS = 4;
/** Most keys, and most tensors: each takes 100 bytes of memory. Qwen3-8B has 30 and 399. */
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
  /** From the start of the file to the first byte. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An open GGUF file with a checked header. The caller closes the source. */
export interface GgufFile {
  readonly source: ByteSource;
  readonly version: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** Supported tensor types by number. @source ggml `ggml.h`, ggml_type */
const SUPPORTED: ReadonlyMap<
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

/** The other types, for errors. */
const UNSUPPORTED: ReadonlyMap<number, string> = new Map(
  (
    "9 Q8_1,10 Q2_K,11 Q3_K,15 Q8_K,16 IQ2_XXS,17 IQ2_XS,18 IQ3_XXS,19 IQ1_S,20 IQ4_NL,21 IQ3_S,22 IQ2_S," +
    "23 IQ4_XS,24 I8,25 I16,26 I32,27 I64,28 F64,29 IQ1_M,34 TQ1_0,35 TQ2_0,39 MXFP4"
  )
    .split(",")
    .map((entry) => [Number.parseInt(entry), entry.split(" ")[1]]),
);

/**
 * Reads and checks a little-endian GGUF header of version 2 or 3, and reads nothing else. Memory is
 * a few times the header's size. As ggml demands, tensors must follow one another without holes.
 * @throws CheckpointError  the header is damaged, or contradicts itself or the file's size
 * @source ggml `docs/gguf.md`, `gguf.cpp`. npm's @huggingface/gguf (0.4.6) is not used: it opens
 *   URLs and paths instead of byte sources, and builds arrays of any length that the file claims.
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

function parse(source: ByteSource, bytes: Uint8Array): GgufFile {
  const file = { name: source.name, size: source.size, limit: MAX_HEADER_BYTES };
  const cursor = new GgufCursor(bytes, file);
  const version = readVersion(cursor);
  // smallest entries: a tensor has 8 + 4 + 4 + 8 bytes, a key with its value 8 + 4 + 1
  const most = (entryBytes: number): number => Math.min(MAX_ENTRIES, Math.floor(source.size / entryBytes));
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
  // a copy, so that the bytes after the header are freed
  const header = new GgufCursor(bytes.slice(0, cursor.at), file);
  const metadata = new GgufMetadata(source.name, values, header);
  return { source, version, metadata, tensors: locate(source, metadata, cursor.at, entries) };
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

/** A tensor's entry, with the offset from the start of the data. */
type Entry = Omit<GgufTensor, "offset"> & { readonly offset: bigint };

function readEntry(cursor: GgufCursor, index: number): Entry {
  const name = cursor.string(`tensor ${index} name`, MAX_NAME_BYTES);
  const dims = cursor.u32(tensorField(name, "dimensions"));
  if (dims > MAX_DIMS)
    throw cursor.refusal(tensorField(name, "dimensions"), `at most ${MAX_DIMS}`, String(dims));
  const sizes = Array.from({ length: dims }, () => cursor.u64(tensorField(name, "shape")));
  const type = cursor.u32(tensorField(name, "type"));
  const supported = SUPPORTED.get(type);
  if (!supported) {
    const expected = [...SUPPORTED.values()].map((t) => t.dtype).join(", ");
    const other = UNSUPPORTED.get(type);
    const advice = other && "quantise the model to one of these";
    throw cursor.refusal(tensorField(name, "type"), expected, other ?? `type ${type}`, advice);
  }
  const { dtype, values, bytes } = supported;
  const count = sizes.reduce((a, b) => a * b, 1n);
  const byteLength = (count / BigInt(values)) * BigInt(bytes);
  if (sizes.some((n) => n > BigInt(Number.MAX_SAFE_INTEGER)) || byteLength > BigInt(cursor.left)) {
    const expected = `a tensor inside the ${cursor.left} bytes that follow`;
    throw cursor.refusal(tensorField(name, "shape"), expected, `[${sizes.join(", ")}] of ${dtype}`);
  }
  const shape = sizes.map(Number).reverse();
  if ((shape.at(-1) ?? 1) % values !== 0) {
    const expected = `rows of whole ${dtype} blocks of ${values}`;
    throw cursor.refusal(tensorField(name, "shape"), expected, `rows of ${shape.at(-1)}`);
  }
  const offset = cursor.u64(tensorField(name, "offset"));
  return { name, dtype, shape, byteLength: Number(byteLength), offset };
}

/** Finds each tensor's position: the aligned end of the tensor before it. */
function locate(
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
      throw checkpointError(source.name, tensorField(name, "offset"), expected, got, advice);
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
