import { describe, expect, test } from "vitest";
import { ggufFixture } from "../../test/helpers/gguf.js";
import { refusal } from "../../test/helpers/checkpoint.js";
import { GGML_BLOCKS } from "./container.js";
import type { GgmlType } from "./container.js";
import { dequantizeBlocks } from "./ggml-blocks.js";
import { openGguf } from "../checkpoint/gguf/gguf.js";
import { bytesSource, readRange } from "../checkpoint/source.js";

const TYPES = Object.keys(GGML_BLOCKS) as GgmlType[];

async function tensorBytes(name: string): Promise<Uint8Array> {
  const file = await openGguf(bytesSource("blocks.gguf", ggufFixture("blocks.gguf")));
  const tensor = file.tensors.get(name)!;
  return readRange(file.source, tensor, 0, tensor.byteLength);
}

// Plan: values have the bits that the gguf Python package computes, for blocks that it quantised
// (types of 32 values) and for random blocks (K types). The last row has scales of 0, -0,
// subnormal, negative and the largest f16. Then any alignment, no blocks, half a block.
describe("dequantizeBlocks", () => {
  test.each(TYPES)("%s has the bits of Python's gguf", async (type) => {
    const want = await tensorBytes(`${type}.f32`);
    const got = dequantizeBlocks(await tensorBytes(type), type);
    expect(new Uint32Array(got.buffer)).toEqual(new Uint32Array(want.slice().buffer));
    expect(new Set(got).size).toBeGreaterThan(50);
  });

  test.each(TYPES)("%s at an odd offset", async (type) => {
    const bytes = await tensorBytes(type);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect(dequantizeBlocks(shifted.subarray(1), type)).toEqual(dequantizeBlocks(bytes, type));
  });

  test.each(TYPES)("%s: an infinite scale gives infinity or NaN", (type) => {
    const block = new Uint8Array(GGML_BLOCKS[type].bytes).fill(0x77);
    block.set([0x00, 0x7c], type === "Q6_K" ? 208 : 0);
    const values = dequantizeBlocks(block, type);
    expect(values.some((v) => Number.isFinite(v))).toBe(false);
  });

  test.each(TYPES)("%s: no blocks give no values; half a block is refused", async (type) => {
    expect(dequantizeBlocks(new Uint8Array(0), type)).toHaveLength(0);
    const error = await refusal(() => dequantizeBlocks(new Uint8Array(17), type, "m.gguf"));
    expect(error.message).toBe(
      `m.gguf: ${type}: expected a multiple of ${GGML_BLOCKS[type].bytes} bytes, got 17`,
    );
  });
});
