import fc from "fast-check";
import { expect, test } from "vitest";
import { Outcomes, fuzzRuns } from "../../../test/helpers/fuzz.js";
import { GGUF_PAIR, T, ggufFixture, ggufPair } from "../../../test/helpers/gguf.js";
import { damaged, damages } from "../../../test/helpers/gguf-mutations.js";
import { openCheckpoint } from "../checkpoint.js";
import { openGguf } from "../gguf/gguf.js";
import { bytesSource } from "../source.js";

// Plan: damaged headers of a pair, and random numbers in its metadata. The pair opens with its
// tokenizer, or one line gives the reason. A huge number of layers makes no table.

const encoder = ggufFixture(`pair/${GGUF_PAIR.encoder}`);
const llm = ggufFixture(`pair/${GGUF_PAIR.llm}`);

async function check(first: Uint8Array, second: Uint8Array, seen: Outcomes): Promise<void> {
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
    seen.refuse(error, ({ field }) => field);
  }
}

test("damaged headers", async () => {
  const seen = new Outcomes();
  const damage = damages(40);
  const property = fc.asyncProperty(fc.boolean(), damage, damage, (both, first, second) =>
    check(both ? damaged(encoder, 8_000, first) : encoder, damaged(llm, 3_500, second), seen),
  );
  await fc.assert(property, { numRuns: fuzzRuns(3_000) });
  expect(seen.opened).toBeGreaterThan(100);
  expect(seen.refused.size).toBeGreaterThan(100);
});

/** Positions of the values of u32 keys. */
async function numbers(bytes: Uint8Array): Promise<number[]> {
  const { metadata } = await openGguf(bytesSource("x", bytes));
  const buffer = Buffer.from(bytes);
  return [...metadata.keys()].flatMap((key) => {
    const type = buffer.indexOf(key) + key.length;
    return buffer.readUInt32LE(type) === T.u32 ? [type + 4] : [];
  });
}

function patched(bytes: Uint8Array, position: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(position, value, true);
  return copy;
}

test("random numbers in the metadata", async () => {
  const seen = new Outcomes();
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
