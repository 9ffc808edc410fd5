import { describe, expect, test } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { Bytes, T, ggufFixture, rawGguf } from "../../../test/helpers/gguf.js";
import type { RawGguf, RawTensor, Value } from "../../../test/helpers/gguf.js";
import { toFloat32 } from "../../formats/dtypes.js";
import type { Dtype } from "../../formats/dtypes.js";
import { MAX_HEADER_BYTES, openGguf } from "./gguf.js";
import type { GgufFile } from "./gguf.js";
import { type ByteSource, bytesSource, readRange } from "../source.js";

const open = (bytes: Uint8Array): Promise<GgufFile> => openGguf(bytesSource("m.gguf", bytes));

// Plan: a file of the gguf Python package with every type of metadata and every rank; each typed
// read and its errors.
describe("a file of gguf-py", () => {
  test("metadata", async () => {
    const { version, metadata } = await open(ggufFixture("values.gguf"));
    expect(version).toBe(3);
    const value = (key: string): unknown => metadata.value(key);
    expect(["u8", "i8", "u16", "i16", "u32", "i32"].map(value)).toEqual([
      255,
      -128,
      65535,
      -32768,
      2 ** 32 - 1,
      -(2 ** 31),
    ]);
    expect(["u64", "u64 large", "i64"].map(value)).toEqual([2 ** 53 - 1, 2n ** 64n - 1n, -(2n ** 63n)]);
    expect(["f32", "f64", "bool", "string"].map(value)).toEqual([Math.fround(1e-6), 0.1, true, "名字\n"]);
    expect(metadata.strings("strings")).toEqual(["a", "", "字"]);
    expect(metadata.integers("i32s")).toEqual([1, -2, 3]);
    expect(metadata.positive("f32")).toBe(1e-6);
    expect(metadata.positive("f64")).toBe(0.1);
    expect(metadata.texts().get("strings")).toBe("an array of 3 string");
    expect(metadata.texts().get("general.architecture")).toBe("values");
  });

  test("tensors: names, shapes, bytes at the file's alignment of 64", async () => {
    const { tensors, source } = await open(ggufFixture("values.gguf"));
    expect([...tensors.values()].map((t) => [t.name, t.dtype, t.shape])).toEqual([
      ["rank 1", "F32", [12]],
      ["rank 2", "F32", [2, 6]],
      ["rank 3", "F32", [2, 3, 2]],
      ["rank 4", "F32", [2, 3, 1, 2]],
      ["f16", "F16", [2]],
      ["bf16", "BF16", [2]],
    ]);
    for (const tensor of tensors.values()) {
      expect(tensor.offset % 64).toBe(0);
      const bytes = await readRange(source, tensor, 0, tensor.byteLength);
      const want = tensor.name.startsWith("rank")
        ? Float32Array.from({ length: 12 }, (_, i) => i)
        : [1.5, -2];
      expect([...toFloat32(bytes, tensor.dtype as Dtype)]).toEqual([...want]);
    }
    const tensor = tensors.get("rank 2")!;
    expect(await readRange(source, tensor, 4, 4)).toEqual(new Uint8Array(Float32Array.of(1).buffer));
    const past = await refusal(() => readRange(source, tensor, 44, 8));
    expect(past.message).toBe(
      'm.gguf: tensor "rank 2": expected a range inside its 48 bytes, got 8 bytes at 44',
    );
  });

  test.each([
    ["integer", "string", 'm.gguf: metadata "string": expected a positive integer, got "名字\\\\n"'],
    ["integer", "i8", 'm.gguf: metadata "i8": expected a positive integer, got -128'],
    [
      "integer",
      "u64 large",
      'm.gguf: metadata "u64 large": expected a positive integer, got 18446744073709551615',
    ],
    ["integer", "none", 'm.gguf: metadata "none": expected a positive integer, got nothing'],
    ["positive", "bool", 'm.gguf: metadata "bool": expected a positive number, got true'],
    ["string", "u8", 'm.gguf: metadata "u8": expected a string, got 255'],
    ["strings", "i32s", 'm.gguf: metadata "i32s": expected an array of string, got an array of 3 i32'],
    [
      "integers",
      "strings",
      'm.gguf: metadata "strings": expected an array of u8 or i8 or u16 or i16 or u32 or i32, got an array of 3 string',
    ],
  ] as const)("%s(%j) is refused", async (method, key, message) => {
    const { metadata } = await open(ggufFixture("values.gguf"));
    const error = await refusal(() => metadata[method](key));
    expect(error.message.replaceAll("\\\\n", "\\n")).toBe(message.replaceAll("\\\\n", "\\n"));
  });
});

const f32 = (name: string, count: number | bigint, offset: number | bigint = 0): RawTensor => ({
  name,
  dims: [count],
  type: 0,
  offset,
});
const array = (type: number, length: number | bigint, rest: (b: Bytes) => void = () => undefined): Value => {
  return (b) => rest(b.u32(T.array).u32(type).u64(length));
};

// Plan: every field of a header with a wrong value. Each error is tested in full.
describe("bad input", () => {
  const table: readonly (readonly [string, RawGguf, string])[] = [
    [
      "no GGUF",
      { magic: [0x50, 0x4b, 3, 4] },
      'magic: expected "GGUF", got "PK\\u0003\\u0004"; this is no GGUF file',
    ],
    ["version 1", { version: 1 }, "version: expected 2 or 3, little-endian, got 1"],
    ["version 4", { version: 4 }, "version: expected 2 or 3, little-endian, got 4"],
    ["big-endian", { version: 0x03000000 }, "version: expected 2 or 3, little-endian, got a big-endian file"],
    [
      "a huge tensor count",
      { tensorCount: 2n ** 64n - 1n },
      "tensor count: expected at most 1, as the file has room for and a model needs, got 18446744073709551615",
    ],
    [
      "a huge metadata count",
      { keyCount: 2n ** 32n },
      "metadata count: expected at most 1, as the file has room for and a model needs, got 4294967296",
    ],
    [
      "more tensors than any model has",
      { tensorCount: 65_537, data: 2_000_000 },
      "tensor count: expected at most 65536, as the file has room for and a model needs, got 65537",
    ],
    [
      "more keys than there are",
      { keyCount: 1, data: 5 },
      "metadata key 0: expected 8 bytes, got 5 left in the file",
    ],
    [
      "a huge string",
      { values: [["a", (b) => b.u32(T.string).u64(2n ** 52n)]] },
      'metadata "a": expected 4503599627370496 bytes, got 0 left in the file',
    ],
    [
      "a huge key",
      { keyCount: 1, data: 0, values: [[new Uint8Array(65_536), 1]] },
      "metadata key 0: expected at most 65535 bytes, got 65536 bytes",
    ],
    [
      "an unknown type of value",
      { values: [["a", (b) => b.u32(13)]] },
      'metadata "a": expected a value type of 0..12, got 13',
    ],
    [
      "a bool of 2",
      { values: [["a", (b) => b.u32(T.bool).raw(2)]] },
      'metadata "a": expected a bool of 0 or 1, got 2',
    ],
    [
      "a huge array of strings",
      { values: [["a", array(T.string, 2n ** 61n)]] },
      'metadata "a": expected at most 0, as many string items as the rest of the file has room for, got 2305843009213693952',
    ],
    [
      "a huge array of bytes",
      { values: [["a", array(T.u8, 9, (b) => b.zeros(8))]] },
      'metadata "a": expected at most 8, as many u8 items as the rest of the file has room for, got 9',
    ],
    [
      "an array of arrays",
      { values: [["a", array(T.array, 1, (b) => b.u32(T.u8).u64(0))]] },
      'metadata "a": expected an array of scalars or strings, as ggml demands, got an array of arrays',
    ],
    [
      "a key twice",
      {
        values: [
          ["a", 1],
          ["a", 2],
        ],
      },
      'metadata "a": expected every key once, got it twice',
    ],
    [
      "a key that is no UTF-8",
      { values: [[Uint8Array.of(0xff), 1]] },
      "metadata key 0: expected UTF-8, got other bytes; the file is damaged",
    ],
    [
      "an alignment of 0",
      { values: [["general.alignment", 0]] },
      'metadata "general.alignment": expected a positive integer, got 0',
    ],
    [
      "an alignment of 48",
      { values: [["general.alignment", 48]] },
      'metadata "general.alignment": expected a power of two up to 1048576, got 48',
    ],
    [
      "an alignment of 2 GB",
      { values: [["general.alignment", 2 ** 31]] },
      'metadata "general.alignment": expected a power of two up to 1048576, got 2147483648',
    ],
    [
      "an alignment in words",
      { values: [["general.alignment", "32"]] },
      'metadata "general.alignment": expected a positive integer, got "32"',
    ],
    [
      "a long tensor name",
      { tensors: [f32("n".repeat(64), 1)], data: 64 },
      "tensor 0 name: expected at most 63 bytes, got 64 bytes",
    ],
    [
      "five dimensions",
      { tensors: [{ name: "a", dims: [1, 1, 1, 1, 1], type: 0, offset: 0 }], data: 64 },
      'tensor "a" dimensions: expected at most 4, got 5',
    ],
    [
      "a type that is not read",
      { tensors: [{ name: "a", dims: [32], type: 20, offset: 0 }], data: 64 },
      'tensor "a" type: expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, got IQ4_NL; quantise the model to one of these',
    ],
    [
      "an unknown type",
      { tensors: [{ name: "a", dims: [32], type: 99, offset: 0 }], data: 64 },
      'tensor "a" type: expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, got type 99',
    ],
    [
      "a shape larger than the file",
      { tensors: [f32("a", 2n ** 40n)], data: 64 },
      'tensor "a" shape: expected a tensor inside the 72 bytes that follow, got [1099511627776] of F32',
    ],
    [
      "a shape whose product overflows 64 bits",
      { tensors: [{ name: "a", dims: [2n ** 32n, 2n ** 32n, 4], type: 0, offset: 0 }], data: 64 },
      'tensor "a" shape: expected a tensor inside the 72 bytes that follow, got [4294967296, 4294967296, 4] of F32',
    ],
    [
      "a shape of nothing times too much",
      { tensors: [{ name: "a", dims: [0, 2n ** 63n], type: 0, offset: 0 }], data: 64 },
      'tensor "a" shape: expected a tensor inside the 72 bytes that follow, got [0, 9223372036854775808] of F32',
    ],
    [
      "rows of half a block",
      { tensors: [{ name: "a", dims: [16, 2], type: 8, offset: 0 }], data: 64 },
      'tensor "a" shape: expected rows of whole Q8_0 blocks of 32, got rows of 16',
    ],
    [
      "a tensor twice",
      { tensors: [f32("a", 1), f32("a", 1, 32)], data: 96 },
      'tensor "a": expected every name once, got it twice',
    ],
    [
      "an offset that overlaps",
      { tensors: [f32("a", 16), f32("b", 1, 32)], data: 160 },
      'tensor "b" offset: expected 64, where the tensor before it ends, got 32; the file is damaged or cut short',
    ],
    [
      "a huge offset",
      { tensors: [f32("a", 1, 2n ** 64n - 32n)], data: 64 },
      'tensor "a" offset: expected 0, where the tensor before it ends, got 18446744073709551584; the file is damaged or cut short',
    ],
    [
      "data cut short",
      { tensors: [f32("a", 16)], data: 64 },
      'tensor "a" offset: expected 64 bytes at 64, got a file of 121 bytes; the file is damaged or cut short',
    ],
  ];
  test.each(table)("%s", async (_, file, message) => {
    expect((await refusal(() => open(rawGguf(file)))).message).toBe(`m.gguf: ${message}`);
  });

  test("every prefix of a real file is refused", async () => {
    const whole = ggufFixture("values.gguf");
    const { tensors } = await open(whole);
    const last = [...tensors.values()].at(-1)!;
    for (let size = 0; size < last.offset + last.byteLength; size += 7) {
      expect((await refusal(() => open(whole.subarray(0, size)))).message).toMatch(/^m\.gguf: /);
    }
  });

  test("an array item that is not UTF-8 is refused when it is read", async () => {
    const values: Value = (b) => b.u32(T.array).u32(T.string).u64(1).string(Uint8Array.of(0xc3));
    const { metadata } = await open(rawGguf({ values: [["a", values]] }));
    const error = await refusal(() => metadata.strings("a"));
    expect(error.message).toBe(
      'm.gguf: metadata "a" items: expected UTF-8, got other bytes; the file is damaged',
    );
  });
});

// Plan: valid but rare headers.
describe("accepted", () => {
  test("no keys and no tensors", async () => {
    const { tensors } = await open(rawGguf({ version: 2 }));
    expect(tensors.size).toBe(0);
  });

  test("a scalar, an empty tensor, bytes after the last one", async () => {
    const tensors: RawTensor[] = [
      { name: "scalar", dims: [], type: 0, offset: 0 },
      { name: "empty", dims: [0, 3], type: 0, offset: 32 },
    ];
    const file = await open(rawGguf({ tensors, data: 100 }));
    expect([...file.tensors.values()].map((t) => [t.shape, t.byteLength])).toEqual([
      [[], 4],
      [[3, 0], 0],
    ]);
  });

  test("a header longer than the first read is read again; a header above the limit is refused", async () => {
    const read: number[] = [];
    const large = (bytes: number): ByteSource => {
      const head = rawGguf({ values: [["a", (b) => b.u32(T.string).u64(bytes)]] });
      const size = head.length + bytes;
      return {
        ...bytesSource("m.gguf", head),
        size,
        read: (offset, length) => {
          read.push(length);
          const out = new Uint8Array(length).fill(0x61);
          out.set(head.subarray(offset, Math.min(head.length, offset + length)));
          return Promise.resolve(out);
        },
      };
    };
    const { metadata } = await openGguf(large(20 << 20));
    expect(metadata.string("a")).toHaveLength(20 << 20);
    expect(read).toEqual([8 << 20, 16 << 20, (20 << 20) + 45]);
    const error = await refusal(() => openGguf(large(200 << 20)));
    expect(error.message).toBe(
      `m.gguf: metadata "a": expected a header of at most ${MAX_HEADER_BYTES} bytes, got one that reaches byte 209715245`,
    );
    expect(Math.max(...read)).toBeLessThanOrEqual(MAX_HEADER_BYTES);
  });
});
