import { describe, expect, test } from "vitest";
import { fixtureBytes, rawSafetensors, refusal } from "../../../test/helpers/checkpoint.js";
import { toFloat32 } from "../../formats/dtypes.js";
import {
  MAX_ENTRIES,
  MAX_HEADER_BYTES,
  type SafetensorsFile,
  findTensor,
  openSafetensors,
  readFloat32,
  readTensor,
} from "./safetensors.js";
import { type ByteSource, bytesSource, readRange } from "../source.js";

const open = (bytes: Uint8Array): Promise<SafetensorsFile> =>
  openSafetensors(bytesSource("x.safetensors", bytes));
const F32 = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
const entry = (fields: object): object => ({ ...F32, ...fields });

describe("a file of Python's safetensors", () => {
  const values = [-2, -1, 0, 1, 2, 3];
  const ints = {
    int64: BigInt64Array,
    int32: Int32Array,
    int16: Int16Array,
    int8: Int8Array,
    uint8: Uint8Array,
  } as const;

  test("floats, integers, booleans, a scalar, an empty tensor, awkward names, metadata", async () => {
    const file = await open(fixtureBytes("dtypes.safetensors"));
    expect(file.tensors.size).toBe(13);
    expect(file.metadata).toEqual(
      new Map([
        ["format", "pt"],
        ["注", "值"],
      ]),
    );
    for (const name of ["float64", "float32", "float16", "bfloat16"]) {
      expect(findTensor(file, name).shape).toEqual([2, 3]);
      expect([...(await readFloat32(file, name))]).toEqual(values);
    }
    for (const [name, View] of Object.entries(ints)) {
      const bytes = (await readTensor(file, name)).slice();
      const want = name === "uint8" ? [0, 1, 2, 3, 4, 5] : values;
      expect([...new View(bytes.buffer)].map(Number)).toEqual(want);
    }
    expect([...(await readTensor(file, "bool"))]).toEqual([0, 0, 0, 1, 1, 1]);
    expect(findTensor(file, "scalar").shape).toEqual([]);
    expect([...(await readFloat32(file, "scalar"))]).toEqual([1.5]);
    expect(findTensor(file, "empty")).toMatchObject({ shape: [0, 3], byteLength: 0 });
    expect([...(await readFloat32(file, '名字 "quoted"\n'))]).toEqual([7]);
  });

  test("part of a tensor", async () => {
    const file = await open(fixtureBytes("dtypes.safetensors"));
    expect([...toFloat32(await readTensor(file, "float32", 4, 8), "F32")]).toEqual([-1, 0]);
    expect([...toFloat32(await readTensor(file, "float32", 16), "F32")]).toEqual([2, 3]);
    expect((await readTensor(file, "float32", 24, 0)).byteLength).toBe(0);
  });
});

describe("files that the reference reader accepts", () => {
  test.each([
    ["no tensors", rawSafetensors({}, 0)],
    ["spaces around the header", rawSafetensors("  {}   ", 0)],
    ["metadata null", rawSafetensors({ __metadata__: null }, 0)],
    ["fields it does not know", rawSafetensors({ a: entry({ extra: { shape: 1, deep: [{}] } }) }, 4)],
    ["entries out of order", rawSafetensors({ b: entry({ data_offsets: [4, 8] }), a: F32 }, 8)],
    ["empty tensors anywhere", rawSafetensors({ a: F32, b: entry({ shape: [0], data_offsets: [4, 4] }) }, 4)],
    [
      "a zero before huge dimensions",
      rawSafetensors({ a: entry({ shape: [0, 2 ** 32, 2 ** 32], data_offsets: [0, 0] }) }, 0),
    ],
    [
      "4-bit floats in whole bytes",
      rawSafetensors({ a: entry({ dtype: "F4", shape: [4], data_offsets: [0, 2] }) }, 2),
    ],
    ["__proto__ as a name", rawSafetensors(`{"__proto__":${JSON.stringify(F32)}}`, 4)],
  ])("%s", async (_, bytes) => {
    await expect(open(bytes)).resolves.toBeDefined();
  });

  test("__proto__ is a tensor like any other", async () => {
    const file = await open(rawSafetensors(`{"__proto__":${JSON.stringify(F32)}}`, 4));
    expect([...file.tensors.keys()]).toEqual(["__proto__"]);
  });
});

// Plan: each error is tested in full, with file, field, expected and got.
describe("bad input", () => {
  const f32 = JSON.stringify(F32);
  const cut = "; the file is cut short, or is no safetensors file";
  const cases: [string, Uint8Array, string][] = [
    ["an empty file", new Uint8Array(0), `size: expected at least 8 bytes, got 0 bytes${cut}`],
    ["7 bytes", new Uint8Array(7), `size: expected at least 8 bytes, got 7 bytes${cut}`],
    [
      "header longer than the file",
      rawSafetensors({}, 0, 3),
      `header length: expected at most the 2 bytes that follow it, got 3 bytes${cut}`,
    ],
    [
      "100 MB header declared by a short file",
      rawSafetensors({}, 0, MAX_HEADER_BYTES),
      `header length: expected at most the 2 bytes that follow it, got 100000000 bytes${cut}`,
    ],
    [
      "header above the limit",
      rawSafetensors({}, 0, MAX_HEADER_BYTES + 1),
      `header length: expected at most 100000000 bytes, got 100000001 bytes${cut}`,
    ],
    [
      "header length of 2^64 - 1",
      rawSafetensors({}, 0, 2n ** 64n - 1n),
      `header length: expected at most 100000000 bytes, got 18446744073709551615 bytes${cut}`,
    ],
    [
      "JSON",
      new TextEncoder().encode('{"strings": []}'),
      'content: expected a safetensors file, got one that begins with "{"; it is JSON',
    ],
    [
      "header not UTF-8",
      rawSafetensors("{}", 0).fill(0xff, 9),
      "header: expected UTF-8, got other bytes; the file is damaged",
    ],
    ["header an array", rawSafetensors("[]", 0), jsonLine(0, '"{"', '"["')],
    ["header null", rawSafetensors("null", 0), jsonLine(0, '"{"', '"n"')],
    [
      "a name twice",
      rawSafetensors(`{"a":${f32},"a":${f32}}`, 4),
      'header: expected every name once, got "a" twice',
    ],
    [
      "a name twice, once escaped",
      rawSafetensors(`{"a":${f32},"\\u0061":${f32}}`, 4),
      'header: expected every name once, got "a" twice',
    ],
    [
      "a field twice",
      rawSafetensors(`{"a":{"shape":[1],"dtype":"F32","data_offsets":[0,4],"shape":[1]}}`, 4),
      'header: expected every name once, got "shape" twice',
    ],
    [
      "metadata twice",
      rawSafetensors(`{"__metadata__":{"k":"1"},"__metadata__":{}}`, 0),
      'header: expected every name once, got "__metadata__" twice',
    ],
    [
      "a metadata key twice",
      rawSafetensors(`{"__metadata__":{"k":"1","k":"2"}}`, 0),
      'header: expected every name once, got "k" twice',
    ],
    [
      "an entry that is no object",
      rawSafetensors({ a: 1 }, 0),
      'tensor "a": expected an object with dtype, shape and data_offsets, got 1',
    ],
    ["a fractional dimension", rawSafetensors({ a: entry({ shape: [1.5] }) }, 4), shapeLine("[1.5]")],
    ["a negative dimension", rawSafetensors({ a: entry({ shape: [-1] }) }, 4), shapeLine("[-1]")],
    ["a dimension in quotes", rawSafetensors({ a: entry({ shape: ["1"] }) }, 4), shapeLine("an array of 1")],
    [
      "a dimension above 2^53",
      rawSafetensors({ a: entry({ shape: [2 ** 53] }) }, 4),
      shapeLine("[9007199254740992]"),
    ],
    ["no shape", rawSafetensors({ a: { dtype: "F32", data_offsets: [0, 4] } }, 4), shapeLine("nothing")],
    [
      "shape product overflow",
      rawSafetensors({ a: entry({ shape: [2 ** 32, 2 ** 32, 0] }) }, 4),
      'tensor "a" shape: expected a product below 2^53 bits, got [4294967296, 4294967296, 0]',
    ],
    [
      "shape product times dtype overflow",
      rawSafetensors({ a: entry({ shape: [2 ** 50] }) }, 4),
      'tensor "a" shape: expected a product below 2^53 bits, got [1125899906842624]',
    ],
    [
      "bytes that do not match the shape",
      rawSafetensors({ a: entry({ shape: [2] }) }, 4),
      'tensor "a" data_offsets: expected 8 bytes for F32 [2], got 4 bytes',
    ],
    [
      "bits that are no whole bytes",
      rawSafetensors({ a: entry({ dtype: "F4", shape: [3], data_offsets: [0, 2] }) }, 2),
      'tensor "a" data_offsets: expected whole bytes for F4 [3], got 2 bytes',
    ],
    ["offsets backwards", rawSafetensors({ a: entry({ data_offsets: [4, 0] }) }, 4), offsetsLine("[4, 0]")],
    ["one offset", rawSafetensors({ a: entry({ data_offsets: [4] }) }, 4), offsetsLine("[4]")],
    ["a negative offset", rawSafetensors({ a: entry({ data_offsets: [-4, 0] }) }, 4), offsetsLine("[-4, 0]")],
    [
      "overlapping offsets",
      rawSafetensors({ a: F32, b: entry({ data_offsets: [2, 6] }) }, 6),
      'tensor "b" data_offsets: expected begin 4, where the tensor before it ends, got an overlap: begin 2',
    ],
    [
      "two tensors over the same bytes",
      rawSafetensors({ a: F32, b: F32 }, 4),
      'tensor "b" data_offsets: expected begin 4, where the tensor before it ends, got an overlap: begin 0',
    ],
    [
      "a hole",
      rawSafetensors({ a: F32, b: entry({ data_offsets: [8, 12] }) }, 12),
      'tensor "b" data_offsets: expected begin 4, where the tensor before it ends, got a hole: begin 8',
    ],
    [
      "offsets past the end",
      rawSafetensors({ a: F32 }, 3),
      'tensor "a" data_offsets: expected an end inside the 3 bytes of data, got end 4; the file is cut short: download it again',
    ],
    [
      "trailing bytes",
      rawSafetensors({ a: F32 }, 5),
      `size: expected ${8 + JSON.stringify({ a: F32 }).length + 4} bytes as the header says, got ${8 + JSON.stringify({ a: F32 }).length + 5} bytes: 1 belong to no tensor`,
    ],
    [
      "metadata that is no object",
      rawSafetensors({ __metadata__: 1 }, 0),
      "__metadata__: expected an object of strings, got 1",
    ],
    [
      "metadata with a number",
      rawSafetensors({ __metadata__: { k: 1 } }, 0),
      '__metadata__ "k": expected a string, got 1',
    ],
  ];

  test.each(cases)("%s", async (_, bytes, message) => {
    const error = await refusal(() => open(bytes));
    expect(error.message).toBe(`x.safetensors: ${message}`);
  });

  test("unknown dtype: the known ones are listed", async () => {
    const error = await refusal(() => open(rawSafetensors({ a: entry({ dtype: "F33" }) }, 4)));
    expect(error.field).toBe('tensor "a" dtype');
    expect(error.expected).toMatch(/^one of BOOL F4 .* BF16 .* U64$/);
    expect(error.got).toBe('"F33"');
    expect((await refusal(() => open(rawSafetensors({ a: entry({ dtype: "toString" }) }, 4)))).got).toBe(
      '"toString"',
    );
  });

  test.each<[string, number, string, string]>([
    ["", 0, '"{"', "the end of the text"],
    ["{", 1, "a name in quotes", "the end of the text"],
    ["{}x", 2, "the end", '"x"'],
    ["{}\0\0", 2, "the end", '"\\u0000"'],
    ["\ufeff{}", 0, '"{"', '"\ufeff"'],
    ['{"a":}', 5, "a value", '"}"'],
    ['{"a" 1}', 5, '":"', '"1"'],
    ['{"a":{"x":1', 11, '"}"', "the end of the text"],
    ['{"__metadata__":{"k":"v"},}', 26, "a name in quotes", '"}"'],
    ['{"a', 3, "the closing quote", "the end of the text"],
    ['{"a\n":1}', 3, "the closing quote", '"\\n"'],
    ['{"\\x":1}', 1, "a string with valid escapes", '"\\""'],
    ['{"a":{"x":01}}', 11, '"}"', '"1"'],
    ['{"a":-}', 6, "a digit", '"}"'],
    ['{"a":1.}', 7, "a digit", '"}"'],
    ['{"a":1e+}', 8, "a digit", '"}"'],
    ['{"a":nul}', 5, "a value", '"n"'],
    ['{"a":[1,]}', 8, "a value", '"]"'],
  ])("header %j is not JSON", async (text, at, expected, got) => {
    const error = await refusal(() => open(rawSafetensors(text, 0)));
    expect(error.message).toBe(`x.safetensors: ${jsonLine(at, expected, got)}`);
  });

  test("names with line breaks and very long names stay in one short line", async () => {
    const name = `${"n".repeat(10_000)}\n\u2028`;
    const error = await refusal(() => open(rawSafetensors({ [name]: 1, "a\r\nb\u2028": 2 }, 0)));
    expect(error.message.length).toBeLessThan(250);
    const second = await refusal(() => open(rawSafetensors({ "a\r\nb\u2028": 2 }, 0)));
    expect(second.message).toContain('tensor "a\\r\\nb\\u2028"');
  });

  test("nesting beyond the reference's 128 levels, and more dimensions than a tensor can have", async () => {
    const deep = (n: number): string => `{"a":{"x":${"[".repeat(n)}${"]".repeat(n)},"dtype":1}}`;
    expect((await refusal(() => open(rawSafetensors(deep(126), 0)))).field).toBe('tensor "a" dtype');
    expect((await refusal(() => open(rawSafetensors(deep(127), 0)))).expected).toBe("at most 128 levels");
    expect((await refusal(() => open(rawSafetensors(deep(1e6), 0)))).expected).toBe("at most 128 levels");
    const ones = (n: number): object => entry({ shape: Array.from({ length: n }, () => 1) });
    await expect(open(rawSafetensors({ a: ones(64) }, 4))).resolves.toBeDefined();
    expect((await refusal(() => open(rawSafetensors({ a: ones(65) }, 4)))).expected).toBe("at most 64 items");
  });
});

describe("reading", () => {
  test("an unknown name, a range outside the tensor, an integer dtype", async () => {
    const file = await open(rawSafetensors({ a: { ...F32, dtype: "I32" } }, 4));
    expect((await refusal(() => readTensor(file, "b"))).message).toBe(
      'x.safetensors: tensor "b": expected a tensor of that name, got none (the file has 1 tensors)',
    );
    const info = findTensor(file, "a");
    for (const [at, length] of [
      [0, 5],
      [4, 1],
      [-1, 2],
      [NaN, 1],
    ]) {
      const error = await refusal(() => readRange(file.source, info, at, length));
      expect(error.message).toBe(
        `x.safetensors: tensor "a": expected a range inside its 4 bytes, got ${length} bytes at ${at}`,
      );
    }
    expect((await refusal(() => readFloat32(file, "a"))).message).toBe(
      'x.safetensors: tensor "a": dtype: expected F32, F16, BF16 or F64, got I32',
    );
  });

  test("opening reads only the length and the header", async () => {
    const bytes = fixtureBytes("dtypes.safetensors");
    const inner = bytesSource("x", bytes);
    const reads: [number, number][] = [];
    const source: ByteSource = {
      ...inner,
      read: (offset, length) => {
        reads.push([offset, length]);
        return inner.read(offset, length);
      },
    };
    const file = await openSafetensors(source);
    const first = Math.min(...[...file.tensors.values()].map((t) => t.offset));
    expect(reads).toEqual([
      [0, 8],
      [8, first - 8],
    ]);
  });
});

function shapeLine(got: string): string {
  return `tensor "a" shape: expected an array of non-negative integers, got ${got}`;
}

function offsetsLine(got: string): string {
  return `tensor "a" data_offsets: expected [begin, end] with begin <= end, got ${got}`;
}

function jsonLine(at: number, expected: string, got: string): string {
  return `header at character ${at}: expected ${expected}, got ${got}; this is not the JSON it should be`;
}

// Plan: a header of millions of entries is refused at the limit.
test.each<[string, (count: number) => object, string]>([
  ["tensors", (n) => Object.fromEntries(names(n).map((name) => [name, empty])), "tensors"],
  [
    "metadata",
    (n) => ({ __metadata__: Object.fromEntries(names(n).map((name) => [name, ""])) }),
    "__metadata__",
  ],
])("at most 65,536 %s", async (_, header, field) => {
  await open(rawSafetensors(header(MAX_ENTRIES), 0));
  const { message } = await refusal(() => open(rawSafetensors(header(MAX_ENTRIES + 1), 0)));
  expect(message).toBe(`x.safetensors: ${field}: expected at most 65536, got more`);
});
const empty = { dtype: "F32", shape: [0], data_offsets: [0, 0] };
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);
