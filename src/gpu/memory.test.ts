import { describe, expect, test } from "vitest";
import { Pool, bucketBytes } from "./memory.js";
import type { Allocation } from "./tensor.js";

// Bucket sizes over a range of requests; then a pool over counted allocations: which buffer is
// taken, what the counters say.

describe("bucketBytes", () => {
  test.each([
    [0, 256],
    [1, 256],
    [256, 256],
    [257, 320],
    [320, 320],
    [449, 512],
    [1025, 1280],
    [2 ** 27, 2 ** 27],
    [2 ** 27 + 1, 1.25 * 2 ** 27],
    [2 ** 32 + 4, 1.25 * 2 ** 32],
  ])("%i bytes take %i", (bytes, want) => expect(bucketBytes(bytes)).toBe(want));

  test("never less than asked, less than a quarter more, whole vec4s, and a bucket fits itself", () => {
    for (let bytes = 256; bytes < 2 ** 33; bytes = Math.ceil(bytes * 1.013)) {
      const size = bucketBytes(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size).toBeLessThan(1.25 * bytes);
      expect(size % 16).toBe(0);
      expect(bucketBytes(size)).toBe(size);
    }
  });
});

describe("Pool", () => {
  const setup = (): { pool: Pool; made: number[]; destroyed: number[] } => {
    const made: number[] = [];
    const destroyed: number[] = [];
    const create = (bytes: number): Allocation => {
      made.push(bytes);
      return { id: made.length - 1, buffer: {} as GPUBuffer, bytes };
    };
    return { pool: new Pool(create, ({ id }) => destroyed.push(id)), made, destroyed };
  };

  test("the free buffer with the lowest id is taken first, whatever the order of return", () => {
    const { pool, made } = setup();
    const taken = [1, 2, 3, 4].map(() => pool.take(1000));
    for (const i of [2, 0, 3, 1]) pool.give(taken[i]);
    expect([pool.take(1000), pool.take(900), pool.take(1024), pool.take(897)].map(({ id }) => id)).toEqual([
      0, 1, 2, 3,
    ]);
    expect(made).toEqual([1024, 1024, 1024, 1024]);
  });

  test("a buffer of another bucket is never taken", () => {
    const { pool } = setup();
    const big = pool.take(5000);
    pool.give(big);
    expect(pool.take(1000)).not.toBe(big);
  });

  test("a buffer that the device had no room for is destroyed, not taken again", () => {
    const { pool, destroyed } = setup();
    const [a, b] = [pool.take(256), pool.take(256)];
    a.refused = true;
    pool.give(a);
    pool.give(b);
    expect([pool.take(256), destroyed, pool.reservedBytes]).toEqual([b, [a.id], 256]);
  });

  test("live and reserved bytes; trim destroys the free ones only", () => {
    const { pool, destroyed } = setup();
    const [a, b] = [pool.take(256), pool.take(512)];
    expect([pool.liveBytes, pool.reservedBytes]).toEqual([768, 768]);
    pool.give(a);
    expect([pool.liveBytes, pool.reservedBytes]).toEqual([512, 768]);
    pool.trim();
    expect([pool.liveBytes, pool.reservedBytes]).toEqual([512, 512]);
    expect(destroyed).toEqual([a.id]);
    pool.give(b);
    pool.trim();
    expect([pool.liveBytes, pool.reservedBytes, destroyed]).toEqual([0, 0, [a.id, b.id]]);
    expect(pool.take(256).id).toBe(2);
  });
});
