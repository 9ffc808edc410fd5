import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import { layoutBytes } from "../../../test/helpers/layouts.js";
import { concat, global, storedZip, torchTensor, torchZip } from "../../../test/helpers/torch-zip.js";
import { toFloat32 } from "../../formats/dtypes.js";
import { MAX_PICKLE_BYTES, type PickleCall, type PickleTuple, readPickle } from "./pickle.js";
import type { TensorInfo } from "../safetensors/safetensors.js";
import { bytesSource, readRange } from "../source.js";
import { openTorchFile } from "./torch-file.js";
import { openZip } from "./zip.js";

// Plan: files of torch.save open to their tensors. Other pickles and damaged zips are refused in
// one line, and nothing in them is executed.

async function open(bytes: Uint8Array): Promise<ReadonlyMap<string, TensorInfo>> {
  return openTorchFile(bytesSource("x.pt", bytes));
}

async function refused(bytes: Uint8Array): Promise<string> {
  return (await refusal(() => open(bytes))).message;
}

describe("files of torch.save", () => {
  test("every dtype, a scalar, an empty tensor, a slice of another tensor's storage", async () => {
    const bytes = layoutBytes("odd/dtypes.pt");
    const tensors = await open(bytes);
    const listed = [...tensors.values()].map(
      ({ name, dtype, shape }) => `${name} ${dtype} [${shape.join()}]`,
    );
    expect(listed).toEqual([
      ...[
        "float64 F64 [2,3]",
        "float32 F32 [2,3]",
        "float16 F16 [2,3]",
        "bfloat16 BF16 [2,3]",
        "int64 I64 [2,3]",
      ],
      ...["int32 I32 [2,3]", "int16 I16 [2,3]", "int8 I8 [2,3]", "uint8 U8 [2,3]", "bool BOOL [2,3]"],
      ...["scalar F32 []", "empty F32 [0,3]", "slice F32 [3]"],
    ]);
    const read = (name: string): Promise<Uint8Array> => {
      const info = tensors.get(name)!;
      return readRange(bytesSource("x", bytes), info, 0, info.byteLength);
    };
    for (const name of ["float64", "float32", "float16", "bfloat16"])
      expect([...toFloat32(await read(name), tensors.get(name)!.dtype)], name).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...(await read("int16"))]).toEqual([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    expect([...(await read("bool"))]).toEqual([0, 1, 1, 1, 1, 1]);
    expect([...toFloat32(await read("slice"), "F32")]).toEqual([3, 4, 5]);
    expect((await read("empty")).length).toBe(0);
  });

  test.each([2, 4, 5])(
    "pickle protocol %i, wrapped as training programs do, a Parameter among them",
    async (protocol) => {
      const tensors = await open(layoutBytes(`odd/wrapped-${protocol}.pt`));
      expect([...tensors.values()].map(({ name, shape }) => [name, shape])).toEqual([
        ["weight", [2, 3]],
        ["bias", [2]],
      ]);
    },
  );

  test.each([
    [
      "transposed",
      /tensor "x": expected a contiguous tensor, got size \[3, 2\] with strides \[1, 3\]; save it again/,
    ],
    [
      "legacy",
      /format: expected the zip that torch.save writes since PyTorch 1.6, got its older format; load it/,
    ],
    [
      "script",
      /got compression method 8; torch.save never compresses; TorchScript does: save the state dict/,
    ],
    ["complex", /pickle at byte \d+: expected no global but .*, got "torch.ComplexFloatStorage"; /],
    ["system", /pickle at byte \d+: expected no global but .*, got "posix.system"; .*: do not load it/],
    ["nested", /pickle at byte \d+: expected no global but .*, got "(builtins|__builtin__).__import__"; /],
  ])("%s is refused", async (name, message) => {
    expect(await refused(layoutBytes(`odd/${name}.pt`))).toMatch(message);
    expect(existsSync("pickle-was-executed")).toBe(false);
  });
});

describe("a pickle", () => {
  const read = (bytes: readonly number[] | Uint8Array, ...allowed: string[]): unknown =>
    readPickle(Uint8Array.from(bytes), "x", new Set(allowed));
  const text = (s: string): number[] => [...utf8(s)];

  test("values", () => {
    // protocol 2 of (None, True, False, -5, 7, 300, -2^40, 1.5, "é", [1, [2]], {"a": (1, 2)})
    const long = [0x8a, 6, 0, 0, 0, 0, 0, 0xff];
    const float = [0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0];
    const list = [0x5d, 0x28, 0x4b, 1, 0x5d, 0x4b, 2, 0x61, 0x65];
    const dict = [0x7d, 0x8c, 1, ...text("a"), 0x4b, 1, 0x4b, 2, 0x86, 0x73];
    const items = [0x4e, 0x88, 0x89, 0x4a, 0xfb, 0xff, 0xff, 0xff, 0x4b, 7, 0x4d, 0x2c, 1, ...long, ...float];
    const value = read([0x80, 2, 0x28, ...items, 0x8c, 2, ...text("é"), ...list, ...dict, 0x74, 0x2e]);
    expect(value).toEqual({
      items: [
        null,
        true,
        false,
        -5,
        7,
        300,
        -(2 ** 40),
        1.5,
        "é",
        [1, [2]],
        new Map([["a", { items: [1, 2] }]]),
      ],
    });
  });

  test.each<[string, number[], RegExp]>([
    [
      "POP",
      [0x4e, 0x30],
      /^x: pickle at byte 1: expected an opcode that builds tensors or containers, got POP$/,
    ],
    ["INST", [0x28, 0x69], /got INST/],
    ["OBJ", [0x28, 0x6f], /got OBJ/],
    ["EXT1", [0x82, 1], /got EXT1/],
    ["BYTEARRAY8", [0x96], /got BYTEARRAY8/],
    ["no opcode at all", [0xff], /got byte 0xff/],
    ["a call of no global", [0x4e, 0x29, 0x52], /expected a call of a global, got null of a tuple of 0/],
    ["attributes of a list", [0x5d, 0x7d, 0x62], /expected attributes of a dict, got a list/],
    ["nothing on the stack", [0x61], /expected a value on the stack, got none/],
    ["no mark", [0x5d, 0x65], /expected a mark on the stack, got none/],
    ["two values", [0x4e, 0x4e, 0x2e], /expected one value at the end, got 2/],
    ["an unknown memo", [0x68, 9], /expected a value remembered before, got memo 9/],
    ["a dict as a key", [0x7d, 0x7d, 0x4e, 0x73], /expected a string or a number as a key, got a dict/],
    ["appending to a tuple", [0x29, 0x4e, 0x61], /expected a list to append to, got a tuple of 0/],
    [
      "a text cut short",
      [0x58, 0xff, 0xff, 0xff, 0xff],
      /expected 4294967295 more bytes, got 0; the file is cut short/,
    ],
    ["a text that is no UTF-8", [0x8c, 1, 0xff], /pickle text: expected UTF-8, got other bytes/],
    ["no end", [0x4e], /expected 1 more bytes, got 0/],
    ["a global across lines", [0x63, 0x61, 0x0a], /expected the end of a line, got the end of the pickle/],
  ])("refused: %s", async (_, bytes, message) => {
    expect((await refusal(() => read(bytes))).message).toMatch(message);
  });

  test("what only its type is kept of: integers above 53 bits, bytes, sets, objects", () => {
    const long = [0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x7f];
    const longer = [0x8a, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const bytes = [0x43, 2, 1, 2];
    const set = [0x8f, 0x28, 0x4b, 1, 0x90];
    const object = [...global("a", "B"), 0x29, 0x81, 0x7d, 0x62];
    const value = read([0x28, ...long, ...longer, ...bytes, ...set, ...object, 0x74, 0x2e]);
    const names = (value as PickleTuple).items.map((item) => (item as PickleCall).name);
    expect(names).toEqual(["int", "int", "bytes", "set", "a.B"]);
  });

  test("globals by either opcode, and an OrderedDict with arguments", async () => {
    const stackGlobal = [0x8c, 2, ...text("os"), 0x8c, 6, ...text("system"), 0x93];
    for (const bytes of [[...global("os", "system")], stackGlobal])
      expect((await refusal(() => read(bytes))).message).toContain('got "os.system"');
    const ordered = [...global("collections", "OrderedDict"), 0x5d, 0x85, 0x52];
    expect((await refusal(() => read(ordered, "collections.OrderedDict"))).message).toContain("made empty");
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["2 million lists", new Uint8Array(2_000_000).fill(0x5d), /at most 1000000 values, got more/],
    ["marks without end", new Uint8Array(2_000_000).fill(0x28), /at most 1000 levels, got more/],
    ["17 MB", new Uint8Array(MAX_PICKLE_BYTES + 1), /pickle: expected at most 16777216 bytes/],
    [
      "memo after memo",
      Uint8Array.from({ length: 3_000_001 }, (_, i) => (i === 0 ? 0x4e : 0x94)),
      /expected a memo of at most 1000000, got more/,
    ],
    [
      "a long text that is joined to a global's name",
      concat(
        new Uint8Array([0x58, 0, 0, 1, 0, ...new Array<number>(65_536).fill(97)]),
        [0x94, 0x68, 0, 0x93],
      ),
      /expected a global's name of at most 256 characters, got 131073/,
    ],
    // the counts bound the memory, which is not measured here
  ])("a bomb of %s ends at a limit", async (_, bytes, message) => {
    expect((await refusal(() => read(bytes))).message).toMatch(message);
  });

  test("400,000 nested lists are read without recursion", () => {
    const bytes = concat(new Uint8Array(400_000).fill(0x5d), new Uint8Array(399_999).fill(0x61), [0x2e]);
    let levels = 0;
    for (let value = read(bytes); Array.isArray(value); value = value[0]) levels++;
    expect(levels).toBe(400_000);
  });
});

describe("a damaged tensor", () => {
  const x = { dtype: "FloatStorage", key: "0", elements: 6, offset: 0, size: [2, 3], stride: [3, 1] };
  const file = (change: Partial<typeof x>, bytes = 24): Uint8Array =>
    torchZip({ ...x, ...change }, [["data/0", new Uint8Array(bytes)]]);

  test("the valid tensor opens", async () => {
    expect((await open(file({}))).get("x")).toMatchObject({ dtype: "F32", shape: [2, 3], byteLength: 24 });
    // axes of one element may have any stride
    const odd = { size: [1, 3, 1], stride: [99, 1, 7] };
    expect((await open(file(odd))).get("x")!.shape).toEqual([1, 3, 1]);
  });

  test.each<[string, Partial<typeof x>, number, RegExp]>([
    ["past its storage", { offset: 1 }, 24, /expected elements inside the 6 of its storage, got 6 from 1/],
    ["a negative offset", { offset: -1 }, 24, /expected an offset, a size and strides of whole numbers/],
    [
      "a size of 2^60 elements",
      { size: [1 << 30, 1 << 30], stride: [1 << 30, 1] },
      24,
      /expected elements inside/,
    ],
    [
      "another rank of strides",
      { stride: [1] },
      24,
      /expected an offset, a size and strides of whole numbers/,
    ],
    [
      "gaps",
      { size: [2, 2], stride: [3, 1] },
      24,
      /expected a contiguous tensor, got size \[2, 2\] with strides \[3, 1\]/,
    ],
    ["one element repeated", { size: [2, 3], stride: [0, 0] }, 24, /expected a contiguous tensor/],
    [
      "a storage cut short",
      {},
      23,
      /expected 24 bytes of storage for 6 elements, got 23; the file is damaged/,
    ],
    [
      "a storage that is not there",
      { key: "1" },
      24,
      /expected its storage "archive\/data\/1" in the zip, got none/,
    ],
    [
      "a storage outside",
      { key: "../../etc" },
      24,
      /expected its storage "archive\/data\/..\/..\/etc" in the zip/,
    ],
  ])("%s", async (_, change, bytes, message) => {
    expect(await refused(file(change, bytes))).toMatch(message);
  });

  test("a big-endian file, no pickle, a pickle that is not a dict, names that are not strings", async () => {
    const big = torchZip(x, [
      ["data/0", new Uint8Array(24)],
      ["byteorder", utf8("big")],
    ]);
    expect(await refused(big)).toBe('x.pt: byteorder: expected "little", got "big"');
    expect(await refused(storedZip([["a/data/0", new Uint8Array(4)]]))).toBe(
      "x.pt: zip: expected an entry NAME/data.pkl, got none; this is no file of torch.save",
    );
    const pickled = (...bytes: number[]): Uint8Array => storedZip([["a/data.pkl", Uint8Array.from(bytes)]]);
    expect(await refused(pickled(0x4e, 0x2e))).toBe("x.pt: pickle: expected a state dict, got null");
    expect(await refused(pickled(0x7d, 0x4b, 1, 0x4e, 0x73, 0x2e))).toContain(
      "expected names of tensors, got 1",
    );
    expect(await refused(pickled(0x7d, 0x8c, 1, 0x61, 0x4e, 0x73, 0x2e))).toBe(
      'x.pt: tensor "a": expected a tensor, got null',
    );
    expect(torchTensor(x).length).toBeGreaterThan(0);
  });
});

describe("a zip", () => {
  const entries: [string, Uint8Array][] = [
    ["a/data.pkl", Uint8Array.from([0x4e, 0x2e])],
    ["a/data/0", new Uint8Array(100).fill(7)],
  ];
  const zip = (edit: (view: DataView, bytes: Uint8Array) => void): Promise<string> => {
    const bytes = storedZip(entries);
    edit(new DataView(bytes.buffer), bytes);
    return refusal(() => openZip(bytesSource("x", bytes))).then((e) => e.message);
  };
  /** Offsets in the archive: two local headers and data, two directory headers, the end. */
  const second = 30 + 10 + 2;
  const directory = second + 30 + 8 + 100;
  const other = directory + 46 + 10;
  const end = other + 46 + 8;

  test("opens", async () => {
    const found = await openZip(bytesSource("x", storedZip(entries)));
    expect([...found.values()]).toEqual([
      { name: "a/data.pkl", offset: 40, byteLength: 2 },
      { name: "a/data/0", offset: second + 38, byteLength: 100 },
    ]);
    expect((await openZip(bytesSource("x", concat(storedZip(entries, "a comment"))))).size).toBe(2);
  });

  test.each<[string, (view: DataView, bytes: Uint8Array) => void, RegExp]>([
    [
      "compressed",
      (v) => v.setUint16(other + 10, 8, true),
      /entry "a\/data\/0" stored as it is, got compression method 8/,
    ],
    [
      "compressed by its own header alone",
      (v) => v.setUint16(second + 8, 8, true),
      /another header than in the directory/,
    ],
    ["encrypted", (v) => v.setUint16(other + 8, 1, true), /got an encrypted one/],
    [
      "of a size that compression would need",
      (v) => v.setUint32(other + 24, 1 << 30, true),
      /got 100 bytes for 1073741824/,
    ],
    [
      "longer than the archive",
      (v) => [20, 24].forEach((at) => v.setUint32(other + at, 1 << 30, true)),
      /entry "a\/data\/0": expected bytes before the zip directory at 180, got 1073741824 bytes after the header at 42/,
    ],
    [
      "outside the archive",
      (v) => v.setUint32(other + 42, 0x7fffffff, true),
      /expected bytes before the zip directory/,
    ],
    [
      "at no header",
      (v) => v.setUint32(other + 42, second + 1, true),
      /expected a header at 43, got other bytes/,
    ],
    [
      "at another's header",
      (v) => v.setUint32(other + 42, 0, true),
      /expected the same name in the header before it/,
    ],
    [
      "of another name in its header",
      (_, b) => b.fill(0x62, second + 30, second + 31),
      /expected the same name/,
    ],
    ["more than there are", (v) => v.setUint16(end + 10, 3, true), /expected 3 entries, got 2/],
    [
      "a directory of 2 GB",
      (v) => v.setUint32(end + 12, 0x7fffffff, true),
      /a directory of at most 16777216 bytes/,
    ],
    [
      "a directory past the end",
      (v) => v.setUint32(end + 16, end, true),
      /expected a directory inside the 290 bytes/,
    ],
    ["a directory cut short", (v) => v.setUint32(end + 12, 80, true), /expected \d+ more bytes, got/],
    [
      "a directory elsewhere",
      (v) => v.setUint32(end + 16, 0, true),
      /expected an entry's header, got other bytes/,
    ],
    [
      "a comment that is not there",
      (v) => v.setUint16(end + 20, 9, true),
      /zip end record: expected one, got none/,
    ],
  ])("entries %s", async (_, edit, message) => {
    expect(await zip(edit)).toMatch(message);
  });

  test("too many entries", async () => {
    const nothing = new Uint8Array();
    const many = Array.from({ length: 32_769 }, (_, i) => [`a/data/${i}`, nothing] as const);
    const { message } = await refusal(() => openZip(bytesSource("x", storedZip(many))));
    expect(message).toContain("x: zip end record: expected at most 32768 entries, got 32769");
    expect((await openZip(bytesSource("x", storedZip(many.slice(1))))).size).toBe(32_768);
  });

  test("a name twice", async () => {
    const bytes = storedZip([entries[1], entries[0], entries[1]]);
    const { message } = await refusal(() => openZip(bytesSource("x", bytes)));
    expect(message).toBe('x: zip directory: expected every entry once, got "a/data/0" twice');
  });

  test("two entries in the same bytes", async () => {
    const bytes = storedZip([
      ["a", new Uint8Array(100)],
      ["b", storedZip([["a", new Uint8Array(20)]]).subarray(0, 51)],
    ]);
    const view = new DataView(bytes.buffer);
    // the first entry now includes the second one's header and data
    const start = 131 + 31 + 51;
    for (const at of [20, 24]) view.setUint32(start + at, 150, true);
    const { message } = await refusal(() => openZip(bytesSource("x", bytes)));
    expect(message).toBe(`x: entry "b": expected bytes of its own, got some of "a"'s`);
  });

  test("cut short at any byte", async () => {
    const whole = storedZip(entries);
    for (let length = 0; length < whole.length; length++)
      await refusal(() => openZip(bytesSource("x", whole.slice(0, length))));
  });
});
