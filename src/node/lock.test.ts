import { spawn } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { type LockClock, type LockHolder, holderName, withLock } from "./lock.js";

// One holder at a time. A lock whose holder is dead or silent is taken over. A holder that lives is
// waited for, or refused on request. A clock that the tests set measures silence.

const root = mkdtempSync(join(tmpdir(), "funasr-lock-"));
const dead = 2 ** 22 + 1; // above the kernel's largest process id
let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(root, "l-")), "deep", "x.lock");
});
afterEach(() => void vi.useRealTimers());
afterAll(() => rmSync(root, { recursive: true }));

/** A lock file that somebody else left. */
async function leave(holder: object | string): Promise<void> {
  await withLock(path, () => Promise.resolve()); // makes the directory
  writeFileSync(path, typeof holder === "string" ? holder : JSON.stringify(holder));
}

/** A clock that only sleeping moves, and what happens meanwhile. */
function clock(meanwhile: (now: number) => void = () => undefined): LockClock {
  let time = 0;
  return {
    now: () => time,
    sleep: (ms) => {
      meanwhile((time += ms));
      return Promise.resolve();
    },
  };
}

const refuse = (holder: LockHolder): Error => new Error(`held by ${holderName(holder)}`);
const pass = (): Promise<number> => Promise.resolve(7);

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

test("several at once take over the lock of a dead process: never two inside, and nothing is left", async () => {
  let most = 0;
  for (let round = 0; round < 20; round++) {
    await leave({ id: `${round}`, pid: dead, host: hostname() });
    let inside = 0;
    const body = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await sleep(2);
      inside--;
    };
    await Promise.all(Array.from({ length: 6 }, () => withLock(path, body, { pollMs: 1 })));
    expect(readdirSync(dirname(path))).toEqual([]);
  }
  expect(most).toBe(1);
});

test.each([
  ["waiting", {}],
  ["refusing", { refuse }],
])("%s, the process that held it is dead: taken over at once", async (_, refusal) => {
  await leave({ id: "x", pid: dead, host: hostname() });
  const still = clock(() => expect.unreachable("nothing is waited for"));
  expect(await withLock(path, pass, { clock: still, ...refusal })).toBe(7);
});

test.each([
  ["a holder elsewhere", { id: "x", pid: 1, host: "elsewhere" }],
  ["no holder at all", ""],
  ["bytes of another kind", "{]"],
])("%s, silent: taken over after the wait, not before", async (_, holder) => {
  for (const refusal of [{}, { refuse }]) {
    await leave(holder);
    const silence = clock();
    await withLock(path, pass, { staleMs: 1000, pollMs: 100, clock: silence, ...refusal });
    expect(silence.now()).toBe(1100);
  }
});

test("a holder that lives is waited for, longer than the silence that is allowed, and named once", async () => {
  await leave({ id: "x", pid: process.pid, host: hostname() });
  const busy = clock((now) => {
    if (now < 5000) utimesSync(path, now, now);
    else rmSync(path, { force: true }); // it is done
  });
  const waits: string[] = [];
  const onWait = (holder: LockHolder): void => void waits.push(holderName(holder));
  expect(await withLock(path, pass, { staleMs: 1000, pollMs: 100, clock: busy, onWait })).toBe(7);
  expect(busy.now()).toBe(5000);
  expect(waits).toEqual([`process ${process.pid}`]);
});

test("a lock is touched four times in the silence that is allowed", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  await withLock(
    path,
    async () => {
      for (let i = 0; i < 3; i++) {
        utimesSync(path, 1, 1);
        vi.advanceTimersByTime(250);
        while (statSync(path).mtimeMs === 1000) await sleep(5);
        expect(statSync(path).mtimeMs).toBeGreaterThan(1000);
      }
    },
    { staleMs: 1000 },
  );
});

test("a lock that was taken over is neither touched nor removed by who lost it", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  await withLock(
    path,
    async (held) => {
      vi.advanceTimersByTime(250);
      await sleep(50);
      expect(held()).toBe(true);
      writeFileSync(path, JSON.stringify({ id: "other", pid: process.pid, host: hostname() }));
      utimesSync(path, 1, 1);
      vi.advanceTimersByTime(250);
      while (held()) await sleep(5);
      expect(held()).toBe(false);
      expect(statSync(path).mtimeMs).toBe(1000);
    },
    { staleMs: 1000 },
  );
  expect(readFileSync(path, "utf8")).toContain("other");
});

test("refused: a holder of this machine that lives, at once, however silent; the lock stays", async () => {
  const still = clock(() => expect.unreachable("nothing is waited for"));
  await withLock(path, async () => {
    const held = readFileSync(path, "utf8");
    utimesSync(path, 1, 1);
    await expect(withLock(path, pass, { clock: still, refuse })).rejects.toThrow(
      `held by process ${process.pid}`,
    );
    expect(readFileSync(path, "utf8")).toBe(held);
  });
  expect(existsSync(path)).toBe(false);
});

test("refused: a holder of another machine that touches its lock", async () => {
  await leave({ id: "x", pid: 1, host: "elsewhere" });
  const touching = clock((now) => utimesSync(path, now, now));
  await expect(withLock(path, pass, { clock: touching, refuse })).rejects.toThrow(
    "held by process 1 on elsewhere",
  );
});

const hasProc = existsSync("/proc/self/stat");

test("a container of the same name, whose process numbers say nothing here, is judged by its silence", async ({
  skip,
}) => {
  skip(!hasProc, "this system does not report its namespaces");
  const holder = { id: "x", pid: 2 ** 22 + 1, host: hostname(), system: "another pid:[1]" }; // no such number here
  await leave(holder);
  const touching = clock((now) => utimesSync(path, now, now));
  await expect(withLock(path, pass, { clock: touching, refuse })).rejects.toThrow("held by process");
  let polls = 0; // the lock is still there
  expect(await withLock(path, pass, { clock: clock(() => polls++), refuse, staleMs: 1000 })).toBe(7);
  expect(polls).toBeGreaterThan(1);
});

test("a process number that was given again is no holder", async ({ skip }) => {
  skip(!hasProc, "this system does not report when a process began");
  const text = await withLock(path, () => Promise.resolve(readFileSync(path, "utf8")));
  const holder = JSON.parse(text) as LockHolder;
  expect(holder.started).toMatch(/^\S+ \d+$/);
  await leave({ ...holder, id: "before", started: "another boot 7" });
  const still = clock(() => expect.unreachable("nothing is waited for"));
  expect(await withLock(path, pass, { clock: still, refuse })).toBe(7);
  await leave({ ...holder, id: "before" });
  await expect(withLock(path, pass, { clock: still, refuse })).rejects.toThrow("held by");
});

test("a process that has ended, and whose parent has not asked how, is no holder", async ({ skip }) => {
  skip(!hasProc, "this system does not report it");
  const parent = spawn("sh", ["-c", "exec 3<&0; cat <&3 & echo $!; exec 3<&-; exec sleep 600"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  try {
    const pid = await new Promise<number>((resolve) => {
      parent.stdout.setEncoding("utf8").once("data", (text: string) => resolve(Number(text)));
    });
    // The shell, which asks how its children end, has become a sleep, which does not.
    const wait = { timeout: 300_000 };
    await vi.waitFor(() => expect(readFileSync(`/proc/${parent.pid}/comm`, "utf8")).toBe("sleep\n"), wait);
    parent.stdin.end(); // the child ends with its input
    await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/stat`, "utf8")).toMatch(/\) Z /), wait);
    await leave({ id: "x", pid, host: hostname() });
    const still = clock(() => expect.unreachable("nothing is waited for"));
    expect(await withLock(path, pass, { clock: still, refuse })).toBe(7);
  } finally {
    parent.kill("SIGKILL");
  }
});
