import { describe, expect, test } from "vitest";
import { fixtureBytes } from "../../test/helpers/checkpoint.js";
import { fromFloat32, toFloat32 } from "../formats/dtypes.js";
import { openSafetensors, readFloat32, readTensor } from "./safetensors/safetensors.js";
import { bytesSource } from "./source.js";
import { lowbias32 } from "../hash.js";
import { fnv1a, generateParameter } from "./weights.js";

// Plan: parameters have the bits of golden/generator.py, for each of the three ranges and both
// dtypes.

const file = await openSafetensors(bytesSource("generated", fixtureBytes("generated.safetensors")));
const seed = Number(file.metadata.get("seed"));
const parameters = [...file.tensors.values()].filter((t) => t.name !== "hashes");

test("the two hashes", async () => {
  const bytes = (await readTensor(file, "hashes")).slice();
  const want = [...new BigInt64Array(bytes.buffer)].map(Number);
  expect([fnv1a(""), fnv1a("名字"), lowbias32(0), lowbias32(1), lowbias32(0xffffffff)]).toEqual(want);
});

describe.each(parameters)("$name $shape", ({ name, shape }) => {
  test("f32 and bf16 equal Python's", async () => {
    const want = await readFloat32(file, name);
    const f32 = generateParameter(name, shape, seed, "f32");
    expect(toFloat32(f32, "F32")).toEqual(want);
    expect(toFloat32(generateParameter(name, shape, seed, "bf16"), "BF16")).toEqual(want);
    expect(toFloat32(fromFloat32(want, "BF16"), "BF16")).toEqual(want);
    expect(generateParameter(name, shape, seed + 1, "f32")).not.toEqual(f32);
  });
});

test("index arithmetic wraps as u32: the value of a large index", () => {
  const n = 1 << 21;
  const table = generateParameter("x.weight", [n, 1], 0xffffffff, "bf16");
  const stream = lowbias32(fnv1a("x.weight") ^ 0xffffffff);
  const k = (lowbias32((stream + n - 1) >>> 0) >>> 24) - 128;
  expect(toFloat32(table.subarray(-2), "BF16")[0]).toBe((2 * k + 1) * 2 ** -7);
});

test("ten million values: the first thousand and the last", () => {
  const name = "model.language_model.embed_tokens.weight";
  const many = generateParameter(name, [10_000, 1000], 1, "bf16");
  expect(many).toHaveLength(2 * 10_000 * 1000);
  expect(many.subarray(0, 2000)).toEqual(generateParameter(name, [1, 1000], 1, "bf16"));
  const k = (lowbias32((lowbias32(fnv1a(name) ^ 1) + 1e7 - 1) >>> 0) >>> 24) - 128;
  expect(toFloat32(many.subarray(-2), "BF16")[0]).toBe((2 * k + 1) * 2 ** -12); // round(log2(147.8 * sqrt(1000)))
});
