import { crc32 as nodeCrc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { concat } from "../../../test/helpers/torch-zip.js";
import type { Dtype } from "../../formats/dtypes.js";
import { bytesSource, readRange } from "../source.js";
import type { WriteTensor } from "../safetensors/write.js";
import { crc32 } from "./crc32.js";
import { openTorchFile } from "./torch-file.js";
import { type TorchTensor, writeTorchFile } from "./write.js";
import { writeZip } from "./write-zip.js";
import { openZip } from "./zip.js";

// Plan: what is written opens to the same tensors, bit for bit, in pieces and with zip64, and every
// storage is aligned. What torch cannot hold is refused. `experiments/round-trip` gives the same
// files to torch itself.

async function written(tensors: readonly TorchTensor[]): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of writeTorchFile(tensors)) pieces.push(piece.slice());
  return concat(...pieces);
}

const tensor = (name: string, dtype: Dtype, shape: number[], bytes: number): WriteTensor => {
  return { name, dtype, shape, data: Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + bytes) % 251) };
};

test("every type, a scalar, an empty tensor, names of any characters, a shared storage", async () => {
  const tensors = [
    tensor("f64", "F64", [2], 16),
    tensor("f32", "F32", [2, 3], 24),
    tensor("f16", "F16", [5], 10),
    tensor("bf16", "BF16", [1, 3, 1], 6),
    tensor("i64", "I64", [1], 8),
    tensor("u8", "U8", [300], 300),
    tensor("scalar", "F32", [], 4),
    tensor("empty", "F32", [0, 7], 0),
    tensor("层.0\n\"'", "F32", [1], 4),
  ];
  const bytes = await written([...tensors, { name: "tied", sameAs: "f16" }]);
  const source = bytesSource("x.pt", bytes);
  const found = await openTorchFile(source);
  expect([...found.keys()]).toEqual([...tensors.map(({ name }) => name), "tied"]);
  for (const { name, dtype, shape, data } of tensors) {
    const info = found.get(name)!;
    expect(info).toMatchObject({ dtype, shape });
    expect(info.offset % 64, name).toBe(0);
    expect(await readRange(source, info, 0, info.byteLength), name).toEqual(data);
  }
  expect({ ...found.get("tied"), name: "f16" }).toEqual(found.get("f16"));
});

test("data in pieces passes through one by one", async () => {
  const pieces: Uint8Array[] = [1, 2, 3].map((value) => new Uint8Array(4).fill(value));
  const tensors: TorchTensor[] = [{ name: "x", dtype: "F32", shape: [3], data: () => stream(pieces) }];
  let longest = 0;
  const all: Uint8Array[] = [];
  for await (const piece of writeTorchFile(tensors)) {
    if (pieces.includes(piece)) longest = Math.max(longest, piece.length);
    all.push(piece);
  }
  expect(longest).toBe(4);
  const source = bytesSource("x", concat(...all));
  const info = (await openTorchFile(source)).get("x")!;
  expect(await readRange(source, info, 0, 12)).toEqual(concat(...pieces));
});

async function* stream(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield await Promise.resolve(piece);
}

test.each<[string, TorchTensor[], RegExp]>([
  [
    "a name twice",
    [tensor("x", "F32", [1], 4), tensor("x", "F32", [1], 4)],
    /^model.pt: tensor "x": expected a name used once, got it twice$/,
  ],
  ["a shared storage of none", [{ name: "x", sameAs: "y" }], /tensor "x": expected the name of a tensor/],
  ["bytes that are missing", [tensor("x", "F32", [2], 7)], /tensor "x": expected 8 bytes, got 7 bytes$/],
  ["too many bytes", [tensor("x", "F32", [2], 9)], /tensor "x": expected 8 bytes, got 9 bytes$/],
  ["no type of torch's", [tensor("x", "F8_E4M3", [2], 2)], /tensor "x": expected /],
])("refused: %s", async (_, tensors, message) => {
  expect((await refusal(() => written(tensors))).message).toMatch(message);
});

describe("zip64", () => {
  test.each([1, 100, 150, 2 ** 32])("sizes and offsets from %i on", async (limit) => {
    const sizes = [1, 150, 99, 0, 151];
    const files = sizes.map((byteLength, i) => {
      return { name: `a/${i}`, byteLength, pieces: () => [new Uint8Array(byteLength).fill(i + 1)] };
    });
    const parts: Uint8Array[] = [];
    for await (const part of writeZip(files, limit)) parts.push(part);
    const bytes = concat(...parts);
    const entries = await openZip(bytesSource("x", bytes));
    for (const [i, byteLength] of sizes.entries()) {
      const entry = entries.get(`a/${i}`)!;
      expect(entry).toMatchObject({ byteLength });
      expect(entry.offset % 64).toBe(0);
      const got = bytes.subarray(entry.offset, entry.offset + byteLength);
      expect(got).toEqual(new Uint8Array(byteLength).fill(i + 1));
    }
    const text = Buffer.from(bytes).toString("latin1");
    expect(text.includes("PK\x06\x06")).toBe(limit < 2 ** 32);
  });

  test("more files than 16 bits count: the record of zip64 holds their number", async () => {
    const files = Array.from({ length: 65_536 }, (_, i) => ({
      name: `${i}`,
      byteLength: 0,
      pieces: () => [],
    }));
    let last = new Uint8Array();
    for await (const piece of writeZip(files)) last = piece as Uint8Array<ArrayBuffer>;
    const view = new DataView(last.buffer);
    expect(last.length).toBe(56 + 20 + 22);
    expect(Number(view.getBigUint64(24, true))).toBe(65_536);
    expect(view.getUint16(56 + 20 + 10, true)).toBe(0xffff);
  });
});

test.each([0, 1, 7, 8, 9, 1001])("CRC-32 of %i bytes, at once and in two pieces", (length) => {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 37) % 256);
  const [head, tail] = [bytes.subarray(0, length / 3), bytes.subarray(length / 3)];
  expect(crc32(bytes)).toBe(nodeCrc32(bytes));
  expect(crc32(tail, crc32(head))).toBe(nodeCrc32(bytes));
});
