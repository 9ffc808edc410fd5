import { afterEach, expect, test, vi } from "vitest";
import { restfulWait } from "./wait.js";

// What a wait hands on; how long it sleeps in a turn of the event loop, by a clock that the test
// sets; that nothing sleeps once nobody waits.
afterEach(() => {
  vi.restoreAllMocks();
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("hands on what is waited for", async () => {
  expect(await restfulWait(turn().then(() => 7))).toBe(7);
  await expect(restfulWait(turn().then(() => Promise.reject(new Error("lost"))))).rejects.toThrow("lost");
});

test("sleeps a tenth of the time since the latest wait, 0.05 to 0.2 ms, until nobody waits", async () => {
  let now = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => now);
  const sleep = vi.spyOn(Atomics, "wait").mockReturnValue("timed-out");
  const pauses = (): (number | undefined)[] => sleep.mock.calls.splice(0).map((call) => call[3]);
  let end = (): void => undefined;
  const first = restfulWait(new Promise<void>((resolve) => (end = resolve)));
  /** The sleep of the next turn, when so many ms have gone by since the clock was set. */
  const at = async (ms: number): Promise<number> => {
    now = 1000 + ms;
    pauses();
    await turn();
    return pauses()[0]!;
  };
  expect(await at(0)).toBe(0.05);
  expect(await at(0.4)).toBe(0.05);
  expect(await at(1.5)).toBeCloseTo(0.15, 6);
  expect(await at(50)).toBe(0.2);
  const second = restfulWait(turn()); // short sleeps again, for the first one too
  expect(await at(50)).toBe(0.05);
  await second;
  expect(await at(60)).toBe(0.2);
  end();
  await first;
  await turn();
  await turn();
  pauses();
  await turn();
  expect(pauses()).toEqual([]);
});
