import { expect, test } from "vitest";
import { random } from "../../../test/gpu.js";
import { Outcomes, fuzzRuns, strictSource } from "../../../test/helpers/fuzz.js";
import { layoutBytes } from "../../../test/helpers/layouts.js";
import { readPickle } from "./pickle.js";
import { bytesSource } from "../source.js";
import { TORCH_GLOBALS, openTorchFile } from "./torch-file.js";
import { openZip } from "./zip.js";

// Plan: fixed mutations of the zip and of the pickle of torch.save. The file opens to tensors
// inside it, or one line gives the reason.

const ROUNDS = fuzzRuns(12_000);
const SOURCES = ["dtypes", "wrapped-2", "wrapped-4", "nested", "transposed"].map((n) =>
  layoutBytes(`odd/${n}.pt`),
);
/** Zip signatures, limits of sizes, pickle opcodes. */
const SPECIAL_BYTES = [
  0,
  1,
  0x7f,
  0x80,
  0xff,
  ...[0x50, 0x4b, 3, 4, 5, 6, 7],
  ...[0x28, 0x2e, 0x52, 0x63, 0x68, 0x71, 0x93, 0x95],
];

/** One to four changes: a byte, a run of bytes, or a piece moved, cut off or doubled. */
function mutate(original: Uint8Array, pick: (below: number) => number): Uint8Array {
  let bytes = original.slice();
  for (let n = 1 + pick(4); n > 0; n--) {
    const start = pick(bytes.length);
    const length = 1 + pick(8);
    const kind = pick(10);
    const special = (): number => SPECIAL_BYTES[pick(SPECIAL_BYTES.length)];
    if (kind < 5) bytes[start] = kind < 3 ? special() : pick(256);
    else if (kind < 7) bytes.fill(special(), start, start + length);
    else if (kind < 8) bytes.copyWithin(pick(bytes.length), start, start + length);
    else if (kind < 9) bytes = bytes.slice(0, Math.max(1, start));
    else bytes = Uint8Array.from([...bytes.slice(0, start), ...bytes.slice(Math.max(0, start - length))]);
  }
  return bytes;
}

async function fuzz(
  seed: number,
  sources: readonly Uint8Array[],
  check: (bytes: Uint8Array) => unknown,
): Promise<Outcomes> {
  const next = random(seed);
  const pick = (below: number): number => Math.floor(((next() + 1) / 2) * below) % below;
  const seen = new Outcomes();
  for (let i = 0; i < ROUNDS; i++) {
    const bytes = mutate(sources[i % sources.length], pick);
    try {
      await check(bytes);
      seen.opened++;
    } catch (error) {
      seen.refuse(error, ({ expected }) => expected.replace(/"(\\.|[^"\\])*"|\d+/g, "N"), 700);
    }
  }
  return seen;
}

test(`files of torch.save, ${ROUNDS} mutations`, async () => {
  const { opened, refused } = await fuzz(1, SOURCES, async (bytes) => {
    for (const { offset, byteLength, shape } of (await openTorchFile(strictSource(bytes))).values()) {
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
  expect(refused.size).toBeGreaterThan(12);
});
