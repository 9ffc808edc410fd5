import { expect, test } from "vitest";
import { Pool } from "../gpu/arena.js";
import { PoolKeeper } from "./pool-keeper.js";
import type { BatchRows } from "./plan.js";

// Over a real pool without a device: equal batches never trim, small ones beside a large one do not either, like ones do; and
// whatever comes, the pool stays at 1.1 of what the largest batch needs.
const buffersOf = ({ tokens }: BatchRows): number[] =>
  Array.from({ length: 10 }, () => 1024 * bucket(tokens));
const bucket = (tokens: number): number => Math.ceil(tokens / 256) * 256;

function run(batches: readonly number[]): { trims: number; peak: number } {
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
    buffersOf,
  );
  let peak = 0;
  for (const tokens of batches) {
    const rows = { tokens, frames: 0, answerTokens: 0 };
    keeper.before(rows);
    const taken = buffersOf(rows).map((bytes) => pool.take(bytes));
    peak = Math.max(peak, pool.reservedBytes);
    for (const buffer of taken) pool.give(buffer);
  }
  return { trims, peak };
}

test("equal batches", () => {
  expect(run([1024, 1024, 1000])).toEqual({ trims: 0, peak: 10 * 1024 * 1024 });
});

test("small batches fit beside a large one, like ones do not", () => {
  expect(run([4096, 200, 4096, 200, 4096]).trims).toBe(0);
  expect(run([2048, 1024, 2048, 1024, 2048]).trims).toBe(4);
});

test("the pool stays at what the largest batch needs", () => {
  const batches = Array.from({ length: 200 }, (_, i) => 1024 * (1 + ((i * 7919) % 4)));
  expect(run(batches).peak).toBeLessThanOrEqual(1.1 * 10 * 1024 * 4096);
});
