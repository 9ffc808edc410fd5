import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fixtureBytes, rawSafetensors } from "../../../test/helpers/checkpoint.js";
import { Outcomes, fuzzRuns, strictSource } from "../../../test/helpers/fuzz.js";
import { DTYPE_BITS } from "../../formats/dtypes.js";
import { CheckpointError } from "../../formats/errors.js";
import { type SafetensorsFile, openSafetensors, readTensor } from "./safetensors.js";
import { bytesSource } from "../source.js";

// Plan: any bytes. The file opens and every tensor can be read, or a one-line error gives the
// reason. No read exceeds the file's size. fast-check prints the seed on failure.

async function check(bytes: Uint8Array, seen: Outcomes): Promise<void> {
  let file: SafetensorsFile;
  try {
    file = await openSafetensors(strictSource(bytes));
  } catch (error) {
    seen.refuse(error, ({ field }) =>
      field.replace(/"(\\.|[^"\\])*"/g, "N").replace(/ at character \d+/, ""),
    );
    return;
  }
  seen.opened++;
  let total = 0;
  for (const name of file.tensors.keys()) total += (await readTensor(file, name)).byteLength;
  expect(total).toBeLessThanOrEqual(bytes.length);
}

/** Checks `runs` files of this kind. */
async function fuzz(files: fc.Arbitrary<Uint8Array>, runs: number): Promise<Outcomes> {
  const seen = new Outcomes();
  await fc.assert(
    fc.asyncProperty(files, (bytes) => check(bytes, seen)),
    { numRuns: fuzzRuns(runs) },
  );
  return seen;
}

const dim = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(-1, 1.5, 2 ** 32, 2 ** 53, 1e300, "3", null, [1], {}) },
);
const name = fc.oneof(
  fc.constantFrom("a", "b", "__metadata__", "__proto__", "constructor", "a\n"),
  fc.string({ unit: "grapheme" }),
);
const dtype = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...Object.keys(DTYPE_BITS)) },
  { weight: 1, arbitrary: fc.constantFrom<unknown>("F33", "toString", "", 1, null) },
);
const looseEntry = fc.record(
  {
    dtype,
    shape: fc.oneof(
      { weight: 9, arbitrary: fc.array(dim, { maxLength: 4 }) },
      { weight: 1, arbitrary: fc.jsonValue() },
    ),
    data_offsets: fc.oneof(fc.tuple(dim, dim), fc.array(dim, { maxLength: 3 })),
  },
  { requiredKeys: [] },
);

/** Tensors without holes, with at most one error. */
const nearlyValid = fc
  .record({
    parts: fc.array(
      fc.record({
        name,
        dtype: fc.constantFrom("F32", "BF16", "U8"),
        dims: fc.array(fc.nat(3), { maxLength: 3 }),
      }),
      {
        maxLength: 5,
      },
    ),
    shift: fc.constantFrom(0, 0, 0, 1, -1, 4),
    which: fc.nat(4),
    extra: fc.constantFrom(0, 0, 0, 1, -1),
    metadata: fc.option(fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.nat()))),
  })
  .map(({ parts, shift, which, extra, metadata }) => {
    let at = 0;
    const entries = parts.map((p, i) => {
      const begin = at + (i === which ? shift : 0);
      at += (p.dims.reduce((a, b) => a * b, 1) * DTYPE_BITS[p.dtype as "F32"]) / 8;
      return `${JSON.stringify(p.name)}:${JSON.stringify({ dtype: p.dtype, shape: p.dims, data_offsets: [begin, at] })}`;
    });
    if (metadata) entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
    return rawSafetensors(`{${entries.join(",")}}`, Math.max(0, at + extra));
  });

/** A valid file with some bytes overwritten, and perhaps cut short. */
const mutated = fc
  .record({
    base: fc.constantFrom("dtypes.safetensors", "tiny/model.safetensors"),
    edits: fc.array(
      fc.record({
        at: fc.nat(1100),
        to: fc.oneof(fc.nat(255), fc.constantFrom(0x22, 0x30, 0x39, 0x2c, 0x7b, 0x7d)),
      }),
      {
        maxLength: 6,
      },
    ),
    size: fc.option(fc.nat(1200)),
  })
  .map(({ base, edits, size }) => {
    const original = fixtureBytes(base);
    const bytes = original.slice(0, size ?? original.length);
    for (const { at, to } of edits) if (at < bytes.length) bytes[at] = to;
    return bytes;
  });

describe("any bytes", () => {
  test("random bytes", async () => {
    const seen = await fuzz(fc.uint8Array({ maxLength: 200 }), 6000);
    expect([...seen.refused]).toEqual(expect.arrayContaining(["size", "header length"]));
  });

  test("random texts after a correct header length", async () => {
    const text = fc.oneof(
      fc.json(),
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.string({ unit: fc.constantFrom(...'{}[]":,\\ u0a-.eF3'.split("")) }),
    );
    const seen = await fuzz(
      fc.tuple(text, fc.nat(4)).map(([t, n]) => rawSafetensors(t, n)),
      2000,
    );
    expect([...seen.refused]).toEqual(expect.arrayContaining(["header", "tensor N"]));
  });

  test("random JSON headers", async () => {
    const header = fc.dictionary(
      name,
      fc.oneof({ weight: 9, arbitrary: looseEntry }, { weight: 1, arbitrary: fc.jsonValue() }),
      {
        maxKeys: 3,
      },
    );
    const seen = await fuzz(
      fc.tuple(header, fc.nat(16)).map(([h, n]) => rawSafetensors(h, n)),
      4000,
    );
    expect([...seen.refused]).toEqual(
      expect.arrayContaining(["tensor N dtype", "tensor N shape", "tensor N data_offsets"]),
    );
  });

  test("valid and nearly valid files", async () => {
    const seen = await fuzz(nearlyValid, 4000);
    expect(seen.opened).toBeGreaterThan(400);
    expect([...seen.refused]).toEqual(expect.arrayContaining(["tensor N data_offsets", "size", "header"]));
  });

  test("mutations of files of Python's safetensors", async () => {
    const seen = await fuzz(mutated, 4000);
    expect(seen.opened).toBeGreaterThan(20);
    expect([...seen.refused]).toEqual(
      expect.arrayContaining(["header", "header length", "tensor N data_offsets"]),
    );
  });
});

// Plan: expensive headers of the largest size. JSON.parse needs 30 s and 5 GB for the second, 57 s
// and 3 GB for the third.
describe("a 100 MB header", () => {
  const entry = ':{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}';
  const cases: [string, string, string, string, "opens" | "is refused"][] = [
    ["of one long name", '{"', "a", `"${entry}`, "opens"],
    ["of opening brackets", '{"a":', "[", "", "is refused"],
    [
      "of empty objects",
      '{"a":{"x":[',
      "{},",
      `{}],"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`,
      "opens",
    ],
    ["of a shape without end", '{"a":{"shape":[', "1,", "1]}}", "is refused"],
    ["of white space", "", " ", "{}", "opens"],
    ["of digits", '{"a":{"x":', "1", "}}", "is refused"],
  ];
  test.each(cases)("%s", async (_, head, middle, tail, outcome) => {
    const size = 100_000_000;
    const bytes = Buffer.alloc(8 + size, middle);
    bytes.writeBigUInt64LE(BigInt(size));
    bytes.write(head, 8);
    const filler = size - head.length - tail.length;
    bytes.fill(middle, 8 + head.length);
    if (filler % middle.length !== 0) bytes.fill(" ", 8 + head.length + filler - (filler % middle.length));
    bytes.write(tail, bytes.length - tail.length);
    const opened = await openSafetensors(bytesSource("x", bytes)).then(
      () => "opens",
      (error: unknown) => (error instanceof CheckpointError ? "is refused" : error),
    );
    expect(opened).toBe(outcome);
  });
});
