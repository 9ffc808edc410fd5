import fc from "fast-check";
import { expect, test } from "vitest";
import { Outcomes, fuzzRuns } from "../../../test/helpers/fuzz.js";
import { type Bytes, T, type Value } from "../../../test/helpers/gguf.js";
import { damaged, damages } from "../../../test/helpers/gguf-mutations.js";
import { joinedPair, packedTransformers, u64s } from "../../../test/helpers/gguf-whole.js";
import { openCheckpoint } from "../checkpoint.js";
import { memoryFiles } from "../source.js";

// Plan: a Fun-ASR in one GGUF file, with a damaged header or other values of audio.cpp's keys. It
// opens with its assets, or one line gives the reason.

async function check(bytes: Uint8Array, seen: Outcomes): Promise<void> {
  try {
    const checkpoint = await openCheckpoint(memoryFiles("m", new Map([["a.gguf", bytes]])));
    let total = 0;
    for (const { byteLength } of checkpoint.tensors.values()) total += byteLength;
    expect(total).toBeLessThanOrEqual(2 * bytes.length);
    await checkpoint.assets.tokenizer();
    await checkpoint.assets.frontend();
    await checkpoint.assets.generation();
    await checkpoint.close();
    seen.opened++;
  } catch (error) {
    seen.refuse(error, ({ field }) => field.replace(/tensor "(\\.|[^"\\])*"/g, "tensor N"));
  }
}

/** Approximate ends of the headers. */
const HEADERS = { joined: 11_000, packed: 9_000 };

test.each(["joined", "packed"] as const)("damaged headers: %s", async (kind) => {
  const file = await (kind === "joined" ? joinedPair() : packedTransformers());
  const seen = new Outcomes();
  const property = fc.asyncProperty(damages(40), (damage) =>
    check(damaged(file, HEADERS[kind], damage), seen),
  );
  const runs = fuzzRuns(1_000);
  await fc.assert(property, { numRuns: runs });
  expect(seen.opened).toBeGreaterThan(runs / 30);
  expect(seen.refused.size).toBeGreaterThan(30);
});

const KEYS = [
  ...["audiocpp.tensor_names", "audiocpp.tensor_ranks", "audiocpp.tensor_shapes"],
  ...["audiocpp.embedded_files.names", "audiocpp.embedded_files.contents"],
  ...["audiocpp.embedded_files.data", "audiocpp.embedded_files.offsets", "general.architecture"],
];
const size = fc.oneof(fc.nat(70), fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53));
const bytesValue = fc.uint8Array({ maxLength: 40 }).map((bytes) => (b: Bytes) => {
  b.u32(T.array).u32(T.u8).u64(bytes.length).bytes(bytes);
});
const text = fc.oneof(fc.constantFrom("config.json", "tokenizer.json", "{}", "audiocpp"), fc.string());
const value: fc.Arbitrary<Value> = fc.oneof(
  text,
  fc.nat(9),
  fc.array(text, { minLength: 1, maxLength: 8 }),
  fc.array(fc.nat(9), { minLength: 1, maxLength: 200 }),
  fc.array(size, { maxLength: 200 }).map(u64s),
  bytesValue,
);

test("audio.cpp's keys with other values", async () => {
  const seen = new Outcomes();
  const changes = fc.dictionary(fc.constantFrom(...KEYS), value, { maxKeys: 2 });
  const property = fc.asyncProperty(changes, async (changed) =>
    check(await packedTransformers(changed), seen),
  );
  await fc.assert(property, { numRuns: fuzzRuns(600) });
  expect(seen.opened).toBeGreaterThan(10);
  for (const name of KEYS.slice(0, 5))
    expect([...seen.refused]).toContain(`metadata ${JSON.stringify(name)}`);
});
