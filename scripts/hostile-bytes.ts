import { deflateRawSync } from "node:zlib";
import { Bytes, T, ggufFixture, key, keyBytes, rawGguf, wholeGguf } from "../test/helpers/gguf.js";
import type { Value } from "../test/helpers/gguf.js";
import { storedZip } from "../test/helpers/torch-zip.js";

// Bytes of hostile weights for check-hostile.ts: headers of safetensors, GGUF files, pickles and
// zip archives.

/** A safetensors file of `count` empty tensors. */
export function safetensors(count: number): Buffer {
  const entry = { dtype: "F32", shape: [0], data_offsets: [0, 0] };
  const entries = Array.from({ length: count }, (_, i) => [`t${i}`, entry] as const);
  return safetensorsOf(JSON.stringify(Object.fromEntries(entries)));
}

/** A safetensors file of this header, without data. */
export function safetensorsOf(header: string): Buffer {
  const bytes = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
}

const long = Buffer.alloc(60 << 20, "a");

/**
 * `count` empty strings, written as one piece: separate ones would take the memory of this script.
 */
function strings(count: number, text: string): (b: Bytes) => void {
  const one = new Bytes().string(text).done();
  return (b) =>
    void b
      .u32(T.array)
      .u32(T.string)
      .u64(count)
      .bytes(Buffer.alloc(count * one.length, one));
}

/** The fixture of an LLM in GGUF with one key's value replaced, and without its tensors. */
function llmWith(name: string, value: Value): Uint8Array {
  const keys = keyBytes(ggufFixture("pair/qwen3-tiny-bf16.gguf"));
  return wholeGguf([...new Map([...keys, [name, key(name, value)] as const]).values()], []);
}

/** The fixture of an LLM in GGUF with another number for one of its u32 keys. */
function patched(name: string, value: number): Uint8Array {
  const bytes = Buffer.from(ggufFixture("pair/qwen3-tiny-bf16.gguf"));
  bytes.writeUInt32LE(value, bytes.indexOf(name) + name.length + 4);
  return bytes;
}

const depth = (levels: number) => (b: Bytes) => {
  const level = new Bytes().u32(T.array).u64(1).done();
  b.u32(T.array).bytes(Buffer.alloc(levels * level.length, level));
};
const values = (count: number, text: string): [string, Value][] =>
  Array.from({ length: count }, (_, i) => [`k${i}`, text]);
const tensors = (count: number, dims: bigint[], type = 0) =>
  Array.from({ length: count }, (_, i) => ({ name: `t${i}`, dims, type, offset: 0 }));

/** The fault of a GGUF file, and its bytes. */
export const ggufs: readonly (readonly [string, () => Uint8Array])[] = [
  ["2^63 tensors and keys", () => rawGguf({ tensorCount: 2n ** 63n, keyCount: 2n ** 63n })],
  ["4,000,000,000 keys", () => rawGguf({ keyCount: 4_000_000_000 })],
  ["65,536 keys of 900 characters", () => rawGguf({ values: values(65_536, "a".repeat(900)) })],
  ["65,536 tensors of 2^62", () => rawGguf({ tensors: tensors(65_536, [2n ** 62n, 2n ** 62n]) })],
  ["65,536 empty tensors", () => rawGguf({ tensors: tensors(65_536, [0n]) })],
  ["a text of 2^62 bytes", () => rawGguf({ values: [["k", (b) => void b.u32(T.string).u64(2n ** 62n)]] })],
  ["a text of 60 MB", () => llmWith("general.name", (b) => void b.u32(T.string).string(long))],
  ["a key of 60 MB", () => rawGguf({ values: [[long, 1]] })],
  ["a tensor's name of 60 MB", () => rawGguf({ tensors: [{ name: long, dims: [1n], type: 0, offset: 0 }] })],
  ["arrays in arrays", () => rawGguf({ values: [["k", depth(1_000_000)]] })],
  [
    "an array of 2^61",
    () =>
      rawGguf({
        values: [
          [
            "k",
            (b) =>
              void b
                .u32(T.array)
                .u32(T.u8)
                .u64(2n ** 61n),
          ],
        ],
      }),
  ],
  ["a type of value that is none", () => rawGguf({ values: [["k", (b) => void b.u32(99).zeros(64)]] })],
  ["a type of tensor that is none", () => rawGguf({ tensors: tensors(1, [1n], 255) })],
  ["7,000,000 tokens of no text", () => llmWith("tokenizer.ggml.tokens", strings(7_000_000, ""))],
  [
    "a token of 60 MB",
    () => llmWith("tokenizer.ggml.tokens", (b) => void b.u32(T.array).u32(T.string).u64(1).string(long)),
  ],
  ["5,000,000 merges", () => llmWith("tokenizer.ggml.merges", strings(5_000_000, "a b"))],
  ...["block_count", "embedding_length", "attention.head_count", "context_length"].map(
    (name) => [`${name} of 2^31`, () => patched(`qwen3.${name}`, 2 ** 31)] as const,
  ),
];

const op = (...bytes: number[]): Buffer => Buffer.from(bytes);
const times = (count: number, ...bytes: number[]): Buffer =>
  Buffer.alloc(count * bytes.length, Buffer.from(bytes));
const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
const pickled = (...parts: Buffer[]): Buffer => Buffer.concat([op(0x80, 2), ...parts, op(0x2e)]);
/** A dict of the name x with what the parts leave on the stack. */
const dict = (...parts: Buffer[]): Buffer => pickled(op(0x7d, 0x58), u32(1), op(0x78), ...parts, op(0x73));
const name = (text: string): Buffer => Buffer.concat([op(0x58), u32(text.length), Buffer.from(text)]);

/** The fault of a pickle, and its bytes. Opcodes: their number in Python's `pickletools.py`. */
export const pickles: readonly (readonly [string, () => Buffer])[] = [
  ["900,000 tuples in tuples", () => dict(op(0x29), times(900_000, 0x85))],
  ["900,000 lists in lists", () => dict(times(900_000, 0x5d), times(899_999, 0x61))],
  ["900,000 persistent ids", () => dict(op(0x29), times(900_000, 0x51))],
  ["16,000,000 marks", () => pickled(times(16_000_000, 0x28))],
  ["tuples that share tuples", () => dict(op(0x5d, 0x94), ...shared(200))],
  ["a dict in itself", () => pickled(op(0x7d, 0x94), name("state_dict"), op(0x68, 0, 0x73))],
  ["a list in itself", () => dict(op(0x5d, 0x94), times(1000, 0x68, 0, 0x61))],
  ["5,000,000 memories", () => dict(op(0x4e), times(5_000_000, 0x94))],
  ["memory 2^32 - 1", () => dict(op(0x4e, 0x72), u32(2 ** 32 - 1))],
  ["an integer of 255 bytes", () => dict(op(0x8a, 255), times(255, 0x7f))],
  ["an integer of 2 GB", () => dict(op(0x8b), u32(2 ** 31 - 1))],
  ["a text of 4 GB", () => dict(op(0x58), u32(2 ** 32 - 1))],
  ["a text of 15 MB as a name", () => pickled(op(0x7d), name("n".repeat(15 << 20)), op(0x4e, 0x73))],
  ["a name of control characters", () => pickled(op(0x7d), name("\n\x1b[2J".repeat(999)), op(0x4e, 0x73))],
  ["900,000 keys", () => pickled(op(0x7d, 0x28), keys(450_000), op(0x75))],
  ["posix.system", () => dict(Buffer.from("cposix\nsystem\n"), name("id"), op(0x85, 0x52))],
  [
    "builtins.eval by a stack",
    () => dict(name("builtins"), name("eval"), op(0x93), name("1"), op(0x85, 0x52)),
  ],
  ["a global of 15 MB", () => dict(op(0x63), Buffer.alloc(15 << 20, "g"))],
  [
    "500,000 globals",
    () =>
      pickled(
        op(0x28),
        Buffer.concat(Array<Buffer>(500_000).fill(Buffer.from("ctorch\nFloatStorage\n"))),
        op(0x74),
      ),
  ],
  ["an old format", () => dict(op(0x49), Buffer.from("1\n"))],
];

/** A tuple of the last memory twice, `levels` times. */
function shared(levels: number): Buffer[] {
  return Array.from({ length: levels }, (_, i) => op(0x68, i, 0x86, 0x94));
}

function keys(count: number): Buffer {
  const bytes = Buffer.alloc(count * 6);
  for (let i = 0; i < count; i++) {
    bytes[i * 6] = 0x4a;
    bytes.writeInt32LE(i, i * 6 + 1);
    bytes[i * 6 + 5] = 0x4e;
  }
  return bytes;
}

/** A file of torch.save with this pickle. */
export function torchOf(pickle: Uint8Array): Uint8Array {
  return storedZip([["archive/data.pkl", pickle]]);
}

/**
 * An archive of one entry whose fields are changed by `change`; `end` and `directory` are where its
 * records begin.
 */
function archive(
  data: Uint8Array,
  change: (zip: Buffer, end: number, directory: number) => void,
  others: readonly (readonly [string, Uint8Array])[] = [],
): Buffer {
  const zip = Buffer.from(storedZip([["archive/data.pkl", data], ...others]));
  const end = zip.length - 22;
  change(zip, end, zip.readUInt32LE(end + 16));
  return zip;
}

const plain = dict(op(0x4e));
const small = Array.from({ length: 30_000 }, (_, i) => [`archive/data/${i}`, new Uint8Array()] as const);

/**
 * The fault of a zip archive, and its bytes. Offsets of fields: PKWARE APPNOTE 4.3.7, 4.3.12,
 * 4.3.16.
 */
export const zips: readonly (readonly [string, () => Uint8Array])[] = [
  ["a bomb: 400 MB deflated", () => deflated(deflateRawSync(Buffer.alloc(400 << 20)), 400 << 20)],
  ["a directory of 4 GB", () => archive(plain, (zip, end) => zip.writeUInt32LE(2 ** 32 - 1, end + 12))],
  ["a directory past the end", () => archive(plain, (zip, end) => zip.writeUInt32LE(zip.length, end + 16))],
  ["65,535 entries of 1", () => archive(plain, (zip, end) => zip.writeUInt16LE(65_535, end + 10))],
  ["an entry of 4 GB", () => archive(plain, sizes(2 ** 32 - 2))],
  ["an entry longer than the file", () => archive(plain, sizes(100_000))],
  [
    "an entry's header past the end",
    () => archive(plain, (zip, _, at) => zip.writeUInt32LE(2 ** 31, at + 42)),
  ],
  ["a name of 65,535 characters", () => archive(plain, (zip, _, at) => zip.writeUInt16LE(65_535, at + 28))],
  ["two entries on one place", () => archive(plain, overlap, [["archive/data/1", plain]])],
  ["30,000 entries", () => archive(plain, () => undefined, small)],
  ["zip64 with 2^62 entries", () => zip64(2n ** 62n)],
  ["no end", () => Buffer.alloc(8 << 20, "PK\x03\x04")],
  ["ends everywhere", () => Buffer.alloc(8 << 20, Buffer.from("PK\x05\x06"))],
];

function sizes(size: number): (zip: Buffer, end: number, directory: number) => void {
  return (zip, _, at) => {
    zip.writeUInt32LE(size, at + 20);
    zip.writeUInt32LE(size, at + 24);
  };
}

function overlap(zip: Buffer, _: number, directory: number): void {
  const second = directory + 46 + "archive/data.pkl".length;
  zip.writeUInt32LE(zip.readUInt32LE(directory + 42), second + 42);
}

function deflated(bytes: Uint8Array, size: number): Buffer {
  return archive(bytes, (zip, _, at) => {
    for (const method of [8, at + 10]) zip.writeUInt16LE(8, method);
    for (const field of [22, at + 24]) zip.writeUInt32LE(size, field);
  });
}

function zip64(entries: bigint): Buffer {
  const zip = archive(plain, () => undefined);
  const end = zip.length - 22;
  const record = Buffer.alloc(56);
  record.writeUInt32LE(0x06064b50);
  record.writeBigUInt64LE(entries, 24);
  record.writeBigUInt64LE(entries, 32);
  record.writeBigUInt64LE(2n ** 40n, 40);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50);
  locator.writeBigUInt64LE(BigInt(end), 8);
  return Buffer.concat([zip.subarray(0, end), record, locator, zip.subarray(end)]);
}
