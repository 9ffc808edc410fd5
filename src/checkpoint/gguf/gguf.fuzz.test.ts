import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fuzzRuns } from "../../../test/helpers/fuzz.js";
import { ggufFixture } from "../../../test/helpers/gguf.js";
import { damaged, damages } from "../../../test/helpers/gguf-mutations.js";
import { CheckpointError } from "../../formats/errors.js";
import { openGguf, readGgufRange } from "./gguf.js";
import type { GgufFile } from "./gguf.js";
import { bytesSource } from "../source.js";
import type { ByteSource } from "../source.js";

// Whatever the bytes: the file opens, its metadata and every tensor read, or a one-line CheckpointError says why not. No read passes
// the file's size. Mutations of files that gguf-py wrote; fast-check prints the seed on failure.

/** Outcomes, so that a generator that only ever makes one kind is found out. */
interface Seen {
  opened: number;
  readonly refused: Set<string>;
}

async function check(bytes: Uint8Array, seen: Seen): Promise<void> {
  const inner = bytesSource("x", bytes);
  const source: ByteSource = {
    ...inner,
    read: (offset, length) => {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
        throw new Error(`read ${length} at ${offset}`);
      return inner.read(offset, length);
    },
  };
  let file: GgufFile;
  try {
    file = await openGguf(source);
  } catch (error) {
    seen.refused.add(judge(error));
    return;
  }
  seen.opened++;
  for (const key of file.metadata.keys()) {
    const value = file.metadata.value(key);
    if (typeof value !== "object") continue;
    try {
      if (value.type === "string") expect(file.metadata.strings(key)).toHaveLength(value.length);
      else if (value.type === "i32") expect(file.metadata.integers(key)).toHaveLength(value.length);
    } catch (error) {
      seen.refused.add(judge(error));
    }
  }
  expect(file.metadata.texts().size).toBe([...file.metadata.keys()].length);
  let total = 0;
  for (const tensor of file.tensors.values())
    total += (await readGgufRange(source, tensor, 0, tensor.byteLength)).byteLength;
  expect(total).toBeLessThanOrEqual(bytes.length);
}

/** The kind of a refusal: its field without names and numbers. Any other error fails the test. */
function judge(error: unknown): string {
  if (!(error instanceof CheckpointError)) throw error;
  if (
    !/^x: [^\p{Cc}]+: expected [^\p{Cc}]+, got [^\p{Cc}]+$/u.test(error.message) ||
    error.message.length > 600
  )
    throw new Error(`not one short line: ${error.message}`, { cause: error });
  return error.field.replace(/"(\\.|[^"\\])*"/g, "N").replace(/ \d+/g, " #");
}

const BASES = ["values.gguf", "qwen3-tiny-head-bf16.gguf", "pair/funasr-encoder-f16.gguf", "blocks.gguf"].map(
  (n) => ggufFixture(n),
);
/** Where the headers end, roughly: edits past them change weights, which nothing judges. */
const HEADERS = [1_100, 4_000, 9_000, 600];

const mutated = fc
  .tuple(fc.nat(BASES.length - 1), damages(2))
  .map(([base, damage]) => damaged(BASES[base], HEADERS[base], damage));

describe("openGguf on damaged files", () => {
  test("mutations of real files", async () => {
    const seen: Seen = { opened: 0, refused: new Set() };
    await fc.assert(
      fc.asyncProperty(mutated, (bytes) => check(bytes, seen)),
      { numRuns: fuzzRuns(12_000) },
    );
    expect(seen.opened).toBeGreaterThan(1_500);
    for (const kind of [
      "magic",
      "version",
      "tensor count",
      "metadata count",
      "metadata N",
      "tensor N offset",
      "tensor N type",
    ])
      expect([...seen.refused]).toContain(kind);
    expect(seen.refused.size).toBeGreaterThan(10);
  });
});
