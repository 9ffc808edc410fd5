import fc from "fast-check";
import { expect, test } from "vitest";
import { fuzzRuns } from "../../../test/helpers/fuzz.js";
import { GGUF_PAIR, T, ggufFixture, ggufPair } from "../../../test/helpers/gguf.js";
import { damaged, damages } from "../../../test/helpers/gguf-mutations.js";
import { openCheckpoint } from "../checkpoint.js";
import { CheckpointError, ConfigError } from "../../formats/errors.js";
import { openGguf } from "../gguf/gguf.js";
import { bytesSource } from "../source.js";

// Whatever happened to the headers of a pair, or to the numbers in their metadata: it opens, with its tokenizer, or one line says why
// not. A wild number of layers makes no table of them.

const encoder = ggufFixture(`pair/${GGUF_PAIR.encoder}`);
const llm = ggufFixture(`pair/${GGUF_PAIR.llm}`);

interface Seen {
  opened: number;
  config: number;
  readonly refused: Set<string>;
}

async function check(first: Uint8Array, second: Uint8Array, seen: Seen): Promise<void> {
  try {
    const checkpoint = await openCheckpoint(
      ggufPair({ [GGUF_PAIR.encoder]: first, [GGUF_PAIR.llm]: second }),
    );
    await checkpoint.assets.tokenizer();
    await checkpoint.assets.frontend();
    await checkpoint.assets.generation();
    await checkpoint.close();
    seen.opened++;
  } catch (error) {
    if (!(error instanceof CheckpointError || error instanceof ConfigError)) throw error;
    if (!/^[^\p{Cc}]+: [^\p{Cc}]+: expected [^\p{Cc}]+, got [^\p{Cc}]+$/u.test(error.message))
      throw new Error(`not one line: ${error.message}`, { cause: error });
    if (error instanceof ConfigError) seen.config++;
    seen.refused.add(error.field);
  }
}

test("damaged headers", async () => {
  const seen: Seen = { opened: 0, config: 0, refused: new Set() };
  const damage = damages(40);
  const property = fc.asyncProperty(fc.boolean(), damage, damage, (both, first, second) =>
    check(both ? damaged(encoder, 8_000, first) : encoder, damaged(llm, 3_500, second), seen),
  );
  await fc.assert(property, { numRuns: fuzzRuns(3_000) });
  expect(seen.opened).toBeGreaterThan(100);
  expect(seen.refused.size).toBeGreaterThan(100);
});

/** Where the file has the values of its u32 keys. */
async function numbers(bytes: Uint8Array): Promise<number[]> {
  const { metadata } = await openGguf(bytesSource("x", bytes));
  const whole = Buffer.from(bytes);
  return [...metadata.keys()].flatMap((key) => {
    const at = whole.indexOf(key) + key.length;
    return whole.readUInt32LE(at) === T.u32 ? [at + 4] : [];
  });
}

function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
}

test("wild numbers", async () => {
  const seen: Seen = { opened: 0, config: 0, refused: new Set() };
  const [inEncoder, inLlm] = [await numbers(encoder), await numbers(llm)];
  expect([inEncoder.length, inLlm.length]).toEqual([17, 10]);
  const value = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 8, 16, 999, 2 ** 31, 2 ** 32 - 1), fc.nat(64));
  const property = fc.asyncProperty(fc.nat(16), fc.nat(9), value, fc.option(value), (i, j, a, b) =>
    check(patched(encoder, inEncoder[i], a), b === null ? llm : patched(llm, inLlm[j], b), seen),
  );
  await fc.assert(property, { numRuns: fuzzRuns(3_000) });
  expect(seen.opened).toBeGreaterThan(20);
  expect(seen.config).toBeGreaterThan(20);
  const fields = [...seen.refused].join(" ");
  for (const key of ["funasr.adp.llm_dim", "funasr.enc.num_blocks", "layers", "hidden_size", "tensor"])
    expect(fields).toContain(key);
});
