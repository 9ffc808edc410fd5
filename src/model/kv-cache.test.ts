import { type MockInstance, describe, expect, it, vi } from "vitest";
import { useGpu, values } from "../../test/gpu.js";
import { tinyConfig } from "../../test/helpers/tiny-model.js";
import type { TensorData } from "../gpu/device.js";
import { GpuError } from "../gpu/errors.js";
import type { Tensor } from "../gpu/tensor.js";
import { KvCache } from "./kv-cache.js";

const gpu = useGpu();
const { llm } = tinyConfig();
const rowBytes = 4 * llm.kvHeads * llm.headDim;

/** Lets so many allocations succeed, and refuses those after them. */
function failing(good: number): MockInstance {
  const keep = gpu().keep.bind(gpu());
  let count = 0;
  return vi.spyOn(gpu(), "keep").mockImplementation((shape, dtype) => {
    if (count++ >= good) throw new GpuError("no memory");
    return keep(shape, dtype);
  });
}

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

// Plan: packed sequences have pages of their own; each row sees its sequence up to itself; pages come
// from the pool as sequences grow, go back as they end, and serve others; a pool without free pages
// grows, keeps what it holds, and gives its memory back, also where an allocation fails half-way; a later call makes up for it.
describe("KvCache", () => {
  it("places a prefill and a step of two sequences", async () => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    expect(await place(cache, [3, 1])).toEqual({
      slots: [0, 0, 1, 1, 2, 2, 3, 32],
      ranges: [0, 1, 0, 2, 0, 3, 32, 33],
    });
    expect(cache.lengths).toEqual([3, 1]);
    expect(await place(cache, [1, 1])).toEqual({ slots: [0, 3, 1, 33], ranges: [0, 4, 32, 34] });
    expect(cache.lengths).toEqual([4, 2]);
    cache.free();
  });

  it("places a token of each sequence in the same tensors, one that nobody wants in a spare row", async () => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    await place(cache, [2, 1]);
    const tensors = new Set<Tensor>();
    const advance = async (sequences?: (number | undefined)[]): Promise<unknown> => {
      const { rows } = cache.advance(sequences);
      for (const tensor of [rows.angles, rows.slots, rows.ranges, rows.tiles.table]) tensors.add(tensor);
      const read = await gpu().step(() => [rows.slots, rows.ranges, rows.tiles.table, rows.angles]);
      const [slots, ranges, tiles, angles] = read.map((data) => [...data]);
      expect(tiles).toEqual([0, 1, 1, 2]);
      return { slots, ranges, cosines: [angles[0], angles[llm.headDim]] };
    };
    const cos = (position: number): number => Math.fround(Math.cos(position));
    expect(await advance()).toEqual({
      slots: [0, 2, 1, 33],
      ranges: [0, 3, 32, 34],
      cosines: [cos(2), cos(1)],
    });
    expect(await advance([0, undefined])).toEqual({
      slots: [0, 3, 1, 65],
      ranges: [0, 4, 65, 66],
      cosines: [cos(3), cos(0)],
    });
    expect(cache.lengths).toEqual([4, 2]);
    await advance([undefined, undefined]);
    expect(cache.lengths).toEqual([4, 2]);
    expect(() => cache.advance([0, undefined])).toThrow(
      new GpuError("KV cache: sequence 0 holds 4 tokens, got 5"),
    );
    expect(tensors.size).toBe(4);
    cache.free();
    expect(gpu().bytes.kept).toBe(0);
  });

  it("places rows of one sequence alone", async () => {
    const cache = new KvCache(gpu(), llm, [2, 2]);
    expect(await place(cache, [0, 2])).toEqual({ slots: [0, 0, 1, 1], ranges: [32, 33, 32, 34] });
    cache.free();
  });

  it("holds two tensors a layer of whole pages and spare rows, and gives them back", () => {
    const kept = gpu().bytes.kept;
    const cache = new KvCache(gpu(), llm, [40, 3]);
    const table = 4 * (2 * 2 + 1); // pages of two sequences, one of the spare rows
    expect(gpu().bytes.kept - kept).toBe(2 * llm.layers * (3 * 32 + 2) * rowBytes + table);
    cache.free();
    expect(gpu().bytes.kept).toBe(kept);
  });

  it("an allocation that fails half-way leaves nothing", async () => {
    const { kept } = gpu().bytes;
    const buffers = 2 * llm.layers + 1;
    for (let good = 0; good < buffers; good++) {
      const spy = failing(good);
      expect(() => new KvCache(gpu(), llm, [4, 3])).toThrow("no memory");
      spy.mockRestore();
      expect(gpu().bytes.kept).toBe(kept);
    }
    for (let good = 0; good < 4; good++) {
      const cache = new KvCache(gpu(), llm, [4, 3]);
      await place(cache, [1, 1]);
      const spy = failing(good); // the tensors of a step
      expect(() => cache.advance()).toThrow("no memory");
      spy.mockRestore();
      cache.free();
      expect(gpu().bytes.kept).toBe(kept);
    }
    for (let good = 0; good < 2 * llm.layers; good++) {
      const cache = new KvCache(gpu(), llm, [32, 32], 64);
      await place(cache, [32, 32]);
      const spy = failing(good); // a larger pool
      expect(() => cache.advance()).toThrow("no memory");
      spy.mockRestore();
      cache.free();
      expect(gpu().bytes.kept).toBe(kept);
    }
  });

  it.each(["prompts", "a token each"])("%s: a growth that failed half-way is made up for", async (kind) => {
    const { kept } = gpu().bytes;
    const next = async (cache: KvCache): Promise<unknown> => {
      if (kind === "prompts") return place(cache, [3, 40]);
      const { slots, ranges } = cache.advance().rows;
      return gpu().step(() => [slots, ranges]);
    };
    const pool = (cache: KvCache): Tensor[] =>
      Array.from({ length: llm.layers }, (_, i) => [cache.layer(i).keys, cache.layer(i).values]).flat();
    const rows = Float32Array.from(values((2 * 32 * rowBytes) / 4, 1));
    const filled = async (): Promise<KvCache> => {
      const cache = new KvCache(gpu(), llm, [32, 32], 96);
      await place(cache, [32, 32]);
      cache.advance([undefined, undefined]);
      for (const tensor of pool(cache)) gpu().write(tensor, rows);
      return cache;
    };
    const fresh = await filled();
    const want = [await next(fresh), fresh.pages, fresh.lengths];
    const data = await gpu().step(() => pool(fresh));
    fresh.free();
    for (let good = 0; good < 2 * llm.layers; good++) {
      const cache = await filled();
      const { pages } = cache;
      const { program } = cache.advance([undefined, undefined]);
      const spy = failing(good);
      await expect(next(cache)).rejects.toThrow("no memory");
      spy.mockRestore();
      expect([cache.pages, cache.lengths]).toEqual([pages, [32, 32]]);
      expect(cache.advance([undefined, undefined]).program).not.toBe(program); // it has freed buffers
      expect([await next(cache), cache.pages, cache.lengths]).toEqual(want);
      const read = await gpu().step(() => pool(cache));
      for (const [i, tensor] of read.entries())
        expect(tensor.findIndex((value, at) => value !== data[i][at])).toBe(-1);
      cache.free();
      expect(gpu().bytes.kept).toBe(kept);
    }
  });

  it("a step whose tensors find no memory takes no token in", async () => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    await place(cache, [1, 1]);
    const spy = failing(1);
    expect(() => cache.advance()).toThrow("no memory");
    spy.mockRestore();
    expect(cache.lengths).toEqual([1, 1]);
    cache.free();
  });

  it.each([
    ["a prefill that is too long", [5, 1], "KV cache: sequence 0 holds 4 tokens, got 5"],
    ["the other sequence", [1, 5], "KV cache: sequence 1 holds 4 tokens, got 5"],
  ])("refuses %s", async (_, counts, message) => {
    const cache = new KvCache(gpu(), llm, [4, 3]);
    await expect(place(cache, counts)).rejects.toThrow(new GpuError(message));
    expect(cache.lengths).toEqual([0, 0]);
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

  it("gives a page to a token that begins one, and the pages of a sequence that ends to another", async () => {
    const cache = new KvCache(gpu(), llm, [32, 33], 96);
    const free = (): number => cache.pages.free;
    await place(cache, [32, 31]);
    expect([cache.pages.all, free()]).toEqual([3, 1]);
    cache.advance([1]);
    expect(free()).toBe(1);
    cache.advance([1]);
    expect(free()).toBe(0);
    cache.remove(0);
    expect([cache.lengths, free()]).toEqual([[0, 33], 1]);
    expect((await place(cache, [1, 0])).slots).toEqual([0, 0]); // the page that it had before
    expect(cache.pages).toEqual({ all: 3, free: 0 });
    cache.free();
  });

  it("grows by half where no page is free, keeps its rows, and records its steps anew", async () => {
    const kept = gpu().bytes.kept;
    const cache = new KvCache(gpu(), llm, [64, 64], 96);
    await place(cache, [64, 63]);
    const before = cache.advance([undefined, 1]);
    expect(cache.pages).toEqual({ all: 4, free: 0 });
    const rows = Float32Array.from({ length: (4 * 32 * rowBytes) / 4 }, (_, i) => i + 1);
    const { keys, values } = cache.layer(llm.layers - 1);
    gpu().write(keys, rows);
    gpu().write(
      values,
      rows.map((value) => -value),
    );
    const after = cache.advance([0, 1]);
    expect(cache.pages).toEqual({ all: 6, free: 0 }); // half as many again is all that the sequences can use
    expect(after.program).not.toBe(before.program);
    expect(after.rows).toBe(before.rows);
    const grown = cache.layer(llm.layers - 1);
    const [gotKeys, gotValues] = await gpu().step(() => [grown.keys, grown.values]);
    expect(gotKeys.slice(0, rows.length)).toEqual(rows);
    expect(gotValues.slice(0, rows.length)).toEqual(rows.map((value) => -value));
    const steps = 2 * (2 * llm.headDim * 2 + 4 * (2 + 2 + 2)); // angles, slots, ranges and tiles of two rows
    expect(gpu().bytes.kept - kept).toBe(2 * llm.layers * (6 * 32 + 2) * rowBytes + 4 * 7 + steps);
    cache.free();
    expect(gpu().bytes.kept).toBe(kept);
  });

  it("grows by what is missing, past half of a small pool", async () => {
    const cache = new KvCache(gpu(), llm, [1, 1], 2000);
    await place(cache, [1000, 1]);
    expect(cache.pages).toEqual({ all: 33, free: 0 });
    cache.free();
  });
});
