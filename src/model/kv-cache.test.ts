import { describe, expect, it } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { tinyConfig } from "../../test/helpers/tiny-model.js";
import type { TensorData } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import type { Tensor } from "../gpu/tensor.js";
import { KvCache } from "./kv-cache.js";

const gpu = useGpu();
const { llm } = tinyConfig();

/** Appends inside a step and reads where the rows were put. */
async function place(
  cache: KvCache,
  counts: readonly number[],
): Promise<{ slots: number[]; ranges: number[] }> {
  const reads: Promise<TensorData>[] = [];
  await gpu().step(() => {
    const rows = cache.append(counts);
    reads.push(gpu().read(rows.slots), gpu().read(rows.ranges));
    return [];
  });
  const [slots, ranges] = await Promise.all(reads);
  return { slots: [...slots], ranges: [...ranges] };
}

// Plan: packed sequences have regions of their own; each row sees its sequence up to itself.
describe("KvCache", () => {
  it("places a prefill and a step of two sequences", async () => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    expect(await place(cache, [3, 1])).toEqual({
      slots: [0, 0, 1, 1, 2, 2, 3, 4],
      ranges: [0, 1, 0, 2, 0, 3, 4, 5],
    });
    expect(cache.lengths).toEqual([3, 1]);
    expect(await place(cache, [1, 1])).toEqual({ slots: [0, 3, 1, 5], ranges: [0, 4, 4, 6] });
    expect(cache.lengths).toEqual([4, 2]);
    cache.free();
  });

  it("places a token of each sequence in the same tensors, an ended one's in its last slot", async () => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    await place(cache, [2, 1]);
    const tensors = new Set<Tensor>();
    const advance = async (ended?: boolean[]): Promise<unknown> => {
      const rows = cache.advance(ended);
      for (const tensor of [rows.angles, rows.slots, rows.ranges, rows.tiles.table]) tensors.add(tensor);
      const read = await gpu().step(() => [rows.slots, rows.ranges, rows.tiles.table, rows.angles]);
      const [slots, ranges, tiles, angles] = read.map((data) => [...data]);
      expect(tiles).toEqual([0, 1, 1, 2]);
      return { slots, ranges, cosines: [angles[0], angles[llm.headDim]] };
    };
    const cos = (position: number): number => Math.fround(Math.cos(position));
    expect(await advance()).toEqual({ slots: [0, 2, 1, 5], ranges: [0, 3, 4, 6], cosines: [cos(2), cos(1)] });
    expect(await advance([false, true])).toEqual({
      slots: [0, 3, 1, 5],
      ranges: [0, 4, 4, 6],
      cosines: [cos(3), cos(1)],
    });
    expect(cache.lengths).toEqual([4, 2]);
    await advance([true, true]);
    expect(cache.lengths).toEqual([4, 2]);
    expect(() => cache.advance([false, true])).toThrow(
      new GpuError("KV cache: sequence 0 holds 4 tokens, got 5"),
    );
    expect(tensors.size).toBe(4);
    cache.free();
    expect(gpu().bytes.kept).toBe(0);
  });

  it("places rows of one sequence alone", async () => {
    const cache = new KvCache(gpu(), llm, [2, 2]);
    expect(await place(cache, [0, 2])).toEqual({ slots: [0, 2, 1, 3], ranges: [2, 3, 2, 4] });
    cache.free();
  });

  it("holds two tensors a layer of the rows that were asked for, and gives them back", () => {
    const kept = gpu().bytes.kept;
    const cache = new KvCache(gpu(), llm, [4, 3]);
    const rowBytes = 4 * llm.kvHeads * llm.headDim;
    expect(gpu().bytes.kept - kept).toBe(2 * llm.layers * 7 * rowBytes);
    cache.free();
    expect(gpu().bytes.kept).toBe(kept);
  });

  it.each([
    ["a prefill that is too long", [5, 1], "KV cache: sequence 0 holds 4 tokens, got 5"],
    ["the other sequence", [1, 4], "KV cache: sequence 1 holds 3 tokens, got 4"],
  ])("refuses %s", async (_, counts, message) => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    await expect(place(cache, counts)).rejects.toThrow(new GpuError(message));
    cache.free();
  });

  it("refuses one token more than fits", async () => {
    const cache = new KvCache(gpu(), llm, [2]);
    await place(cache, [2]);
    await expect(place(cache, [1])).rejects.toThrow("KV cache: sequence 0 holds 2 tokens, got 3");
    expect(cache.lengths).toEqual([2]);
    cache.free();
  });

  it("refuses more than the model's positions, before it takes memory", () => {
    const kept = gpu().bytes.kept;
    expect(() => new KvCache(gpu(), llm, [3, 2049])).toThrow(
      new GpuError("a sequence of 2049 tokens passes the model's 2048 positions"),
    );
    expect(gpu().bytes.kept).toBe(kept);
  });
});
