import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { ParameterEntry, ParameterSource } from "../weights/loader.js";
import { HashedSource } from "./parameter-hash.js";

// The digest against its definition; the same for any cuts and order of the reads, overlaps among
// them, though a reader uses its buffer again; another for one bit, a name, a type, a shape;
// nothing of what is known; a tensor that was read in part.

interface Stored {
  readonly entry: ParameterEntry;
  readonly bytes: Uint8Array;
}

function stored(name: string, shape: readonly number[], change: Partial<ParameterEntry> = {}): Stored {
  const byteLength = 4 * shape.reduce((a, b) => a * b, 1);
  const bytes = Uint8Array.from({ length: byteLength }, (_, i) => (i * 37 + name.length) % 251);
  return { entry: { name, dtype: "F32", shape, byteLength, ...change }, bytes };
}

function sourceOf(parts: readonly Stored[]): ParameterSource {
  const all = new Map(parts.map((part) => [part.entry.name, part]));
  return {
    name: "test",
    tensors: new Map(parts.map(({ entry }) => [entry.name, entry])),
    read: ({ name }, offset, length, into) => {
      const bytes = all.get(name)!.bytes.subarray(offset, offset + length);
      if (!into) return Promise.resolve(bytes);
      into.set(bytes);
      return Promise.resolve(into.subarray(0, length));
    },
  };
}

type Cut = readonly [offset: number, length: number];
const whole: Cut[] = [[0, 24]];

async function digest(
  parts: readonly Stored[],
  cuts: readonly Cut[] = whole,
  known?: (name: string) => boolean,
): Promise<string> {
  const source = new HashedSource(sourceOf(parts), known);
  const buffer = new Uint8Array(24);
  for (const { entry } of parts)
    for (const [offset, length] of cuts) await source.read(entry, offset, length, buffer);
  return source.digest();
}

const [a, b] = [stored("a", [6]), stored("b.weight", [2, 3])];
const sha256 = (data: Uint8Array | string): string => createHash("sha256").update(data).digest("hex");

test("the digest is that of the tensors' lines in the order of their names", async () => {
  const line = ({ entry: { name, dtype, shape }, bytes }: Stored): string =>
    `${JSON.stringify([name, dtype, shape, sha256(bytes)])}\n`;
  expect(await digest([b, a])).toBe(sha256(line(a) + line(b)));
});

test.each<[string, Cut[]]>([
  [
    "two halves",
    [
      [0, 12],
      [12, 12],
    ],
  ],
  [
    "odd cuts",
    [
      [0, 5],
      [5, 1],
      [6, 17],
      [23, 1],
    ],
  ],
  [
    "backwards",
    [
      [20, 4],
      [12, 8],
      [3, 9],
      [0, 3],
    ],
  ],
  [
    "out of order",
    [
      [8, 4],
      [0, 4],
      [16, 8],
      [4, 4],
      [12, 4],
    ],
  ],
  [
    "a part twice, and overlaps",
    [
      [0, 10],
      [0, 10],
      [6, 10],
      [18, 6],
      [18, 2],
      [2, 20],
    ],
  ],
])("reads in %s", async (_, cuts) => {
  expect(await digest([a, b], cuts)).toBe(await digest([a, b]));
});

test("one bit, name, type or shape makes another", async () => {
  const bit = { ...b, bytes: b.bytes.map((byte, i) => (i === 23 ? byte ^ 1 : byte)) };
  const changed = (change: Partial<ParameterEntry>): Stored => ({ ...b, entry: { ...b.entry, ...change } });
  const others = [bit, changed({ name: "c" }), changed({ dtype: "I32" }), changed({ shape: [3, 2] })];
  const digests = await Promise.all([b, ...others].map((other) => digest([a, other])));
  expect(new Set([...digests, await digest([b])]).size).toBe(6);
});

test("what is known is read and not hashed", async () => {
  const other = { ...a, bytes: a.bytes.map((byte) => byte ^ 1) };
  const known = (name: string): boolean => name === "a";
  expect(await digest([a, b], whole, known)).toBe(await digest([b]));
  expect(await digest([other, b], [[0, 24]], known)).toBe(await digest([b]));
});

test("a tensor that was read in part has no digest", async () => {
  await expect(
    digest(
      [b],
      [
        [0, 12],
        [16, 8],
      ],
    ),
  ).rejects.toThrow("b.weight: expected all its 24 bytes to be read, got 12");
});
