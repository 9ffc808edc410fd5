import fc from "fast-check";
import { expect, test } from "vitest";
import { fuzzRuns } from "../../../test/helpers/fuzz.js";
import { type Bytes, T, type Value } from "../../../test/helpers/gguf.js";
import { damaged, damages } from "../../../test/helpers/gguf-mutations.js";
import { joinedPair, packedTransformers, u64s } from "../../../test/helpers/gguf-whole.js";
import { openCheckpoint } from "../checkpoint.js";
import { CheckpointError, ConfigError } from "../../formats/errors.js";
import { memoryFiles } from "../source.js";

// Plan: a whole Fun-ASR in one GGUF file, its header damaged or audio.cpp's keys replaced: every tensor of what opens reads, or one line
// says why nothing does.

interface Seen {
  opened: number;
  readonly refused: Set<string>;
}

async function check(bytes: Uint8Array, seen: Seen): Promise<void> {
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
    if (!(error instanceof CheckpointError || error instanceof ConfigError)) throw error;
    if (!/^[^\p{Cc}]+: [^\p{Cc}]+: expected [^\p{Cc}]+, got [^\p{Cc}]+$/u.test(error.message))
      throw new Error(`not one line: ${error.message}`, { cause: error });
    seen.refused.add(error.field.replace(/tensor "(\\.|[^"\\])*"/g, "tensor N"));
  }
}

/** Where the headers end, about. */
const HEADERS = { joined: 11_000, packed: 9_000 };

test.each(["joined", "packed"] as const)("damaged headers: %s", async (kind) => {
  const whole = await (kind === "joined" ? joinedPair() : packedTransformers());
  const seen: Seen = { opened: 0, refused: new Set() };
  const property = fc.asyncProperty(damages(40), (damage) =>
    check(damaged(whole, HEADERS[kind], damage), seen),
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
  const seen: Seen = { opened: 0, refused: new Set() };
  const changes = fc.dictionary(fc.constantFrom(...KEYS), value, { maxKeys: 2 });
  const property = fc.asyncProperty(changes, async (changed) =>
    check(await packedTransformers(changed), seen),
  );
  await fc.assert(property, { numRuns: fuzzRuns(600) });
  expect(seen.opened).toBeGreaterThan(10);
  for (const name of KEYS.slice(0, 5))
    expect([...seen.refused]).toContain(`metadata ${JSON.stringify(name)}`);
});
