import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeEach, expect, test } from "vitest";
import { withLock } from "./lock.js";

// One holder at a time; a lock whose holder is dead, or of another machine and silent, is taken over; one that lives is not.

const root = mkdtempSync(join(tmpdir(), "funasr-lock-"));
let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(root, "l-")), "deep", "x.lock");
});
afterAll(() => rmSync(root, { recursive: true }));

/** A lock file that somebody else left. */
async function leave(holder: object | string): Promise<void> {
  await withLock(path, () => Promise.resolve()); // makes the directory
  writeFileSync(path, typeof holder === "string" ? holder : JSON.stringify(holder));
}

test("many at once: never two inside, and nothing is left", async () => {
  let inside = 0;
  let most = 0;
  const body = async (): Promise<void> => {
    most = Math.max(most, ++inside);
    await sleep(5);
    inside--;
  };
  await Promise.all(Array.from({ length: 8 }, () => withLock(path, body, { pollMs: 1 })));
  expect(most).toBe(1);
  expect(existsSync(path)).toBe(false);
});

test("a body that fails lets go, and its error comes through", async () => {
  await expect(withLock(path, () => Promise.reject(new Error("broke")))).rejects.toThrow("broke");
  expect(existsSync(path)).toBe(false);
});

test("the process that held it is dead: taken over at once", async () => {
  await leave({ id: "x", pid: 2 ** 22 + 1, host: hostname() }); // above the kernel's largest process id
  expect(await withLock(path, () => Promise.resolve(7), { staleMs: 60_000, pollMs: 1 })).toBe(7);
});

test.each([
  ["a holder elsewhere", { id: "x", pid: 1, host: "elsewhere" }],
  ["no holder at all", ""],
  ["bytes of another kind", "{]"],
])("%s, silent: taken over after the wait", async (_, holder) => {
  await leave(holder);
  const start = performance.now();
  await withLock(path, () => Promise.resolve(), { staleMs: 100, pollMs: 1 });
  expect(performance.now() - start).toBeGreaterThan(99);
});

test("a holder that lives is waited for, longer than the silence that is allowed, and named", async () => {
  const order: string[] = [];
  const first = withLock(path, () => sleep(500).then(() => order.push("first")), { staleMs: 200 });
  await sleep(50);
  const waits: string[] = [];
  await withLock(path, () => Promise.resolve(order.push("second")), {
    staleMs: 200,
    pollMs: 5,
    onWait: (holder) => waits.push(holder),
  });
  await first;
  expect(order).toEqual(["first", "second"]);
  expect(waits).toEqual([`process ${process.pid}`]);
});

test("a lock that was taken over is not removed by who lost it", async () => {
  await withLock(path, () => {
    writeFileSync(path, JSON.stringify({ id: "other", pid: process.pid, host: hostname() }));
    return Promise.resolve();
  });
  expect(readFileSync(path, "utf8")).toContain("other");
});
