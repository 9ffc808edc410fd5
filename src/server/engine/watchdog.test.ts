import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Sign, Watchdog } from "./watchdog.js";

// Plan: a process that is looked at on a clock of the test: one that has work and gets nothing done,
// whether it answers or not, is found within 1.1 times the limit, and not before it; one that goes on,
// one without work, and a machine that sleeps are left alone.
const limit = 1000;
const none = (ms: number): Promise<Sign> =>
  new Promise((resolve) => setTimeout(() => resolve({ busy: true, progress: undefined }), ms));

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

/** Time until the process is found to hang; undefined: it is not within 30 times the limit. */
async function found(look: (waitMs: number) => Promise<Sign>): Promise<number | undefined> {
  const began = performance.now();
  let ms: number | undefined;
  const watchdog = new Watchdog(limit, look, () => (ms = performance.now() - began));
  watchdog.start();
  await vi.advanceTimersByTimeAsync(30 * limit);
  watchdog.stop();
  return ms;
}

test.each<[string, (waitMs: number) => Promise<Sign>]>([
  ["answers", () => Promise.resolve({ busy: true, progress: 5 })],
  ["does not answer", none],
  ["answers late", async (waitMs) => ({ ...(await none(waitMs / 2)), progress: 5 })],
])("one that gets nothing done and %s", async (_, look) => {
  const ms = await found(look);
  expect(ms).toBeGreaterThanOrEqual(limit);
  expect(ms).toBeLessThanOrEqual(1.1 * limit + 50);
});

test("one that goes on, one that answers now and then, and one without work", async () => {
  let looks = 0;
  expect(
    await found(() => Promise.resolve({ busy: true, progress: Math.floor(looks++ / 9) })),
  ).toBeUndefined();
  const rarely = (waitMs: number): Promise<Sign> =>
    looks++ % 9 === 0 ? Promise.resolve({ busy: true, progress: looks }) : none(waitMs);
  expect(await found(rarely)).toBeUndefined();
  expect(await found(() => Promise.resolve({ busy: false, progress: 5 }))).toBeUndefined();
});

test("a machine that sleeps in each third look", async () => {
  let looks = 0;
  const sleeps = async (waitMs: number): Promise<Sign> => {
    if (looks % 3 === 0) await none(2 * limit);
    return looks++ % 9 === 0 ? { busy: true, progress: looks } : none(waitMs);
  };
  expect(await found(sleeps)).toBeUndefined();
});
