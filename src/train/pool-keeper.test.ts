import { expect, test } from "vitest";
import { tinyConfig } from "../../test/helpers/tiny-model.js";
import { countingGpu, takeBuffers } from "../gpu/counting.js";
import { Pool } from "../gpu/memory.js";
import { shapeSource } from "../weights/shapes.js";
import { CountedTraining } from "./counted.js";
import { PoolKeeper, remembering } from "./pool-keeper.js";

// Over a real pool without a device: equal batches never trim, small ones beside a large one do not
// either, like ones do; and whatever comes, the pool stays at 1.1 of what the largest batch needs.
const buffersOf = (tokens: number): number[] => Array.from({ length: 10 }, () => 1024 * bucket(tokens));
const bucket = (tokens: number): number => Math.ceil(tokens / 256) * 256;

async function run(batches: readonly number[]): Promise<{ trims: number; peak: number }> {
  let id = 0;
  const pool = new Pool(
    (bytes) => ({ id: id++, bytes, buffer: {} as GPUBuffer }),
    () => undefined,
  );
  let trims = 0;
  const keeper = new PoolKeeper(
    {
      get bytes() {
        return { kept: 500, reserved: 500 + pool.reservedBytes };
      },
      trim() {
        trims++;
        pool.trim();
      },
    },
    ({ clips }) => Promise.resolve(buffersOf(clips[0].text)),
  );
  let peak = 0;
  for (const tokens of batches) {
    await keeper.before({ clips: [{ text: tokens, frames: 0, answer: 0 }] });
    const taken = buffersOf(tokens).map((bytes) => pool.take(bytes));
    peak = Math.max(peak, pool.reservedBytes);
    for (const buffer of taken) pool.give(buffer);
  }
  return { trims, peak };
}

test("equal batches", async () => {
  expect(await run([1024, 1024, 1000])).toEqual({ trims: 0, peak: 10 * 1024 * 1024 });
});

test("small batches fit beside a large one, like ones do not", async () => {
  expect((await run([4096, 200, 4096, 200, 4096])).trims).toBe(0);
  expect((await run([2048, 1024, 2048, 1024, 2048])).trims).toBe(4);
});

test("the pool stays at what the largest batch needs", async () => {
  const batches = Array.from({ length: 200 }, (_, i) => 1024 * (1 + ((i * 7919) % 4)));
  expect((await run(batches)).peak).toBeLessThanOrEqual(1.1 * 10 * 1024 * 4096);
});

// Plan: rows are counted once while they are among the last 64; an error of counting ahead comes
// with the batch.
test("the last 64 rows are remembered", async () => {
  const asked: number[] = [];
  const count = remembering(({ clips }) => {
    asked.push(clips[0].text);
    return Promise.resolve([clips[0].text]);
  });
  const ask = (text: number): ReturnType<typeof count> => count({ clips: [{ text, frames: 0, answer: 0 }] });
  for (let text = 0; text < 64; text++) expect(await ask(text)).toEqual([text]);
  await ask(0);
  await ask(64);
  asked.length = 0;
  for (const text of [0, 64, 2, 1]) await ask(text);
  expect(asked).toEqual([1]);
});

test("counting ahead reports no error; the batch does", async () => {
  const pools = { bytes: { kept: 0, reserved: 0 }, trim: () => undefined };
  const keeper = new PoolKeeper(
    pools,
    remembering(() => Promise.reject(new Error("no file"))),
  );
  keeper.ahead({ clips: [] });
  await new Promise((resolve) => setImmediate(resolve)); // an unhandled rejection would be reported here
  await expect(keeper.before({ clips: [] })).rejects.toThrow("no file");
});

test("a count lists the buffers of its own micro-batch, and keeps no list", async () => {
  const [config, gpu] = [tinyConfig(), countingGpu()];
  const training = await CountedTraining.load(gpu, config, shapeSource(config), { tune: ["adaptor"] });
  const rows = { clips: [{ frames: 20, text: 8, answer: 4 }] };
  const first = await training.buffers(rows);
  expect(first.length).toBeGreaterThan(50);
  expect(await training.buffers(rows)).toEqual(first);
  expect(takeBuffers(gpu)).toEqual([]);
});
