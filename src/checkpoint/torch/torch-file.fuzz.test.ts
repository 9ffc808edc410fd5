import { expect, test } from "vitest";
import { random } from "../../../test/gpu.js";
import { fuzzRuns } from "../../../test/helpers/fuzz.js";
import { layoutBytes } from "../../../test/helpers/layouts.js";
import { CheckpointError } from "../../formats/errors.js";
import { readPickle } from "./pickle.js";
import { bytesSource } from "../source.js";
import type { ByteSource } from "../source.js";
import { TORCH_GLOBALS, openTorchFile } from "./torch-file.js";
import { openZip } from "./zip.js";

// Files that torch wrote, damaged: whatever the bytes, the file opens to tensors inside it or a one-line CheckpointError says why not.
// Mutations of the zip and of the pickle, always the same ones.

const ROUNDS = fuzzRuns(12_000);
const SOURCES = ["dtypes", "wrapped-2", "wrapped-4", "nested", "transposed"].map((n) =>
  layoutBytes(`odd/${n}.pt`),
);
/** Bytes that mean something: zip signatures, sizes at their limits, pickle opcodes. */
const TELLING = [
  0,
  1,
  0x7f,
  0x80,
  0xff,
  ...[0x50, 0x4b, 3, 4, 5, 6, 7],
  ...[0x28, 0x2e, 0x52, 0x63, 0x68, 0x71, 0x93, 0x95],
];

/** One to four changes: a byte, a run of bytes, a piece moved, cut off or doubled. */
function mutate(original: Uint8Array, pick: (below: number) => number): Uint8Array {
  let bytes = original.slice();
  for (let n = 1 + pick(4); n > 0; n--) {
    const at = pick(bytes.length);
    const length = 1 + pick(8);
    const kind = pick(10);
    if (kind < 5) bytes[at] = kind < 3 ? TELLING[pick(TELLING.length)] : pick(256);
    else if (kind < 7) bytes.fill(TELLING[pick(TELLING.length)], at, at + length);
    else if (kind < 8) bytes.copyWithin(pick(bytes.length), at, at + length);
    else if (kind < 9) bytes = bytes.slice(0, Math.max(1, at));
    else bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(Math.max(0, at - length))]);
  }
  return bytes;
}

/** Refuses reads outside the file, which would allocate what a file claims. */
function strict(bytes: Uint8Array): ByteSource {
  const inner = bytesSource("x", bytes);
  return {
    ...inner,
    read(offset, length) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
        throw new Error(`read ${length} at ${offset}`);
      return inner.read(offset, length);
    },
  };
}

async function fuzz(
  seed: number,
  sources: readonly Uint8Array[],
  check: (bytes: Uint8Array) => unknown,
): Promise<{ opened: number; refused: Set<string> }> {
  const next = random(seed);
  const pick = (below: number): number => Math.floor(((next() + 1) / 2) * below) % below;
  const seen = { opened: 0, refused: new Set<string>() };
  for (let i = 0; i < ROUNDS; i++) {
    const bytes = mutate(sources[i % sources.length], pick);
    try {
      await check(bytes);
      seen.opened++;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      if (
        !/^x: [^\p{Cc}]+: expected [^\p{Cc}]+, got [^\p{Cc}]+$/u.test(error.message) ||
        error.message.length > 700
      )
        throw new Error(`not one short line: ${error.message}`, { cause: error });
      seen.refused.add(error.expected.replace(/"(\\.|[^"\\])*"|\d+/g, "N"));
    }
  }
  return seen;
}

test(`files of torch.save, ${ROUNDS} mutations`, async () => {
  const { opened, refused } = await fuzz(1, SOURCES, async (bytes) => {
    for (const { offset, byteLength, shape } of (await openTorchFile(strict(bytes))).values()) {
      expect(offset >= 0 && byteLength >= 0 && offset + byteLength <= bytes.length).toBe(true);
      expect(shape.every((d) => Number.isSafeInteger(d) && d >= 0)).toBe(true);
    }
  });
  expect(opened).toBeGreaterThan(ROUNDS / 100);
  expect(refused.size).toBeGreaterThan(25);
});

test(`pickles of torch.save, ${ROUNDS} mutations`, async () => {
  const pickles = await Promise.all(
    SOURCES.map(async (bytes) => {
      const entries = await openZip(bytesSource("x", bytes));
      const { offset, byteLength } = [...entries.values()].find((e) => e.name.endsWith("/data.pkl"))!;
      return bytes.slice(offset, offset + byteLength);
    }),
  );
  const { opened, refused } = await fuzz(2, pickles, (bytes) => readPickle(bytes, "x", TORCH_GLOBALS));
  expect(opened).toBeGreaterThan(ROUNDS / 100);
  expect(refused.size).toBeGreaterThan(15);
});
