import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refusal } from "../../../test/helpers/checkpoint.js";
import { DTYPE_BITS } from "../../formats/dtypes.js";
import type { Dtype } from "../../formats/dtypes.js";
import { openSafetensors, readTensor } from "./safetensors.js";
import { safetensorsBytes, writeSafetensors } from "./write.js";
import type { WriteTensor } from "./write.js";
import { bytesSource } from "../source.js";

// Plan: written files read back the same and are aligned; one tensor at a time is in memory; bad
// input is refused before any data is written.

const u8 = (name: string, ...bytes: number[]): WriteTensor => ({
  name,
  dtype: "U8",
  shape: [bytes.length],
  data: Uint8Array.from(bytes),
});

const dtypes = Object.keys(DTYPE_BITS).filter((d) => DTYPE_BITS[d as Dtype] % 8 === 0) as Dtype[];
const tensors = fc.uniqueArray(
  fc
    .record({
      name: fc.string({ unit: "grapheme" }),
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
    })
    .filter((t) => t.name !== "__metadata__")
    .chain((t) => {
      const size = (t.shape.reduce((a, b) => a * b, 1) * DTYPE_BITS[t.dtype]) / 8;
      return fc.uint8Array({ minLength: size, maxLength: size }).map((data) => ({ ...t, data }));
    }),
  { selector: (t) => t.name, maxLength: 6 },
);
const metadata = fc
  .array(fc.tuple(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })))
  .map((e) => new Map(e));

test("names, dtypes, shapes, bytes and metadata read back the same; every tensor is aligned", async () => {
  await fc.assert(
    fc.asyncProperty(tensors, metadata, async (list, meta) => {
      const bytes = await safetensorsBytes(list, meta);
      const file = await openSafetensors(bytesSource("x", bytes));
      expect(file.metadata).toEqual(meta);
      expect(file.tensors.size).toBe(list.length);
      for (const { name, dtype, shape, data } of list) {
        const info = file.tensors.get(name)!;
        expect(info).toMatchObject({ dtype, shape });
        expect(info.offset % (DTYPE_BITS[dtype] / 8)).toBe(0);
        expect(await readTensor(file, name)).toEqual(data);
      }
    }),
    { numRuns: 500 },
  );
});

test("the header starts with {, and is padded with spaces to 8 bytes", async () => {
  const bytes = await safetensorsBytes([u8("a", 1, 2, 3)], new Map([["10", "x"]]));
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  expect(length % 8).toBe(0);
  expect(text.trimEnd()).toBe(
    '{"__metadata__":{"10":"x"},"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}',
  );
  expect([...bytes.subarray(8 + length)]).toEqual([1, 2, 3]);
});

test("no tensors", async () => {
  expect((await openSafetensors(bytesSource("x", await safetensorsBytes([])))).tensors.size).toBe(0);
});

test("tensors are read one at a time, when they are written", async () => {
  const asked: string[] = [];
  const lazy = (name: string): WriteTensor => ({
    name,
    dtype: "U8",
    shape: [1],
    data: () => {
      asked.push(name);
      return Promise.resolve(new Uint8Array(1));
    },
  });
  const pieces = writeSafetensors([lazy("b"), lazy("a")]);
  await pieces.next();
  expect(asked).toEqual([]);
  await pieces.next();
  expect(asked).toEqual(["a"]);
  await pieces.next();
  expect(asked).toEqual(["a", "b"]);
});

describe("refusals", () => {
  test.each<[string, WriteTensor[], string]>([
    [
      "a name twice",
      [u8("a", 1), u8("a", 2)],
      'safetensors: tensor "a": expected a name used once, got it twice',
    ],
    [
      "the reserved name",
      [u8("__metadata__", 1)],
      'safetensors: tensor "__metadata__": expected a name used once, got it twice',
    ],
    [
      "data of another length",
      [{ ...u8("a", 1, 2), shape: [3] }],
      'safetensors: tensor "a": expected 3 bytes, got 2 bytes',
    ],
    [
      "a negative dimension",
      [{ ...u8("a", 1), shape: [-1] }],
      'safetensors: tensor "a": expected whole bytes of a known dtype, got "U8" [-1]',
    ],
    [
      "half a byte",
      [{ ...u8("a", 1), dtype: "F4", shape: [1] }],
      'safetensors: tensor "a": expected whole bytes of a known dtype, got "F4" [1]',
    ],
    [
      "an overflow",
      [{ ...u8("a", 1), shape: [2 ** 30, 2 ** 30] }],
      'safetensors: tensor "a": expected whole bytes of a known dtype, got "U8" [1073741824, 1073741824]',
    ],
  ])("%s", async (_, list, message) => {
    expect((await refusal(() => safetensorsBytes(list))).message).toBe(message);
  });
});
