import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CheckpointError, ConfigError } from "../../formats/errors.js";
import { Outcomes, fuzzRuns, strictSource } from "../../../test/helpers/fuzz.js";
import { ggufFixture } from "../../../test/helpers/gguf.js";
import { damaged, damages } from "../../../test/helpers/gguf-mutations.js";
import { type GgufFile, openGguf } from "./gguf.js";
import { readRange } from "../source.js";

// Plan: mutations of files of gguf-py. The file opens, and its metadata and every tensor can be
// read, or a one-line error gives the reason. No read exceeds the file's size. fast-check prints
// the seed on failure.

async function check(bytes: Uint8Array, seen: Outcomes): Promise<void> {
  const source = strictSource(bytes);
  let file: GgufFile;
  try {
    file = await openGguf(source);
  } catch (error) {
    seen.refuse(error, kind);
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
      seen.refuse(error, kind);
    }
  }
  expect(file.metadata.texts().size).toBe([...file.metadata.keys()].length);
  let total = 0;
  for (const tensor of file.tensors.values())
    total += (await readRange(source, tensor, 0, tensor.byteLength)).byteLength;
  expect(total).toBeLessThanOrEqual(bytes.length);
}

/** The kind of a refusal: its field without names and numbers. */
function kind({ field }: CheckpointError | ConfigError): string {
  return field.replace(/"(\\.|[^"\\])*"/g, "N").replace(/ \d+/g, " #");
}

const BASES = ["values.gguf", "qwen3-tiny-head-bf16.gguf", "pair/funasr-encoder-f16.gguf", "blocks.gguf"].map(
  (n) => ggufFixture(n),
);
/** Approximate ends of the headers: later edits change only weights. */
const HEADERS = [1_100, 4_000, 9_000, 600];

const mutated = fc
  .tuple(fc.nat(BASES.length - 1), damages(2))
  .map(([base, damage]) => damaged(BASES[base], HEADERS[base], damage));

describe("openGguf on damaged files", () => {
  test("mutations of real files", async () => {
    const seen = new Outcomes();
    await fc.assert(
      fc.asyncProperty(mutated, (bytes) => check(bytes, seen)),
      { numRuns: fuzzRuns(12_000) },
    );
    expect(seen.opened).toBeGreaterThan(1_500);
    const kinds = ["magic", "version", "tensor count", "metadata count", "metadata N", "tensor N offset"];
    expect([...seen.refused]).toEqual(expect.arrayContaining([...kinds, "tensor N type"]));
    expect(seen.refused.size).toBeGreaterThan(10);
  });
});
