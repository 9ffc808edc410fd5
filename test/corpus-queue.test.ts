import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mergedText, planNames, runWorker, startWorker } from "./helpers/corpus.js";

// Plan: workers take shards from a redis-server of the test's own. One is killed, one ends by SIGTERM;
// Redis loses everything; a shard that fails is given up; Redis is out of memory, and then is not;
// there is none. The merged bytes are those of claim files. Skipped where no redis-server is installed.

const isThere = spawnSync("redis-server", ["--version"]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "queue-"));
const path = (name: string): string => join(folder, name);
const names = Array.from({ length: 30 }, (_, i) => `/audio/${i % 11 === 3 ? "bad" : "a"}-${i}.wav`);
let [port, alone] = [0, ""];
let server: ChildProcess | undefined;
const url = (): string => `redis://127.0.0.1:${port}`;

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port: free } = probe.address() as { port: number };
  probe.close();
  return free;
}

async function startRedis(): Promise<void> {
  const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  server = spawn("redis-server", [...options, "--dir", folder], { stdio: "ignore" });
  for (let tries = 0; tries < 300; tries++) {
    const client = new Redis(url(), { lazyConnect: true, retryStrategy: null });
    client.on("error", () => undefined);
    const up = await client.connect().then(
      () => true,
      () => false,
    );
    client.disconnect();
    if (up) return;
    await sleep(100);
  }
}

async function stopRedis(): Promise<void> {
  if (!server || server.exitCode !== null) return;
  server.kill("SIGKILL");
  await once(server, "exit");
}

const ask = async (...command: [string, ...string[]]): Promise<unknown> => {
  const client = new Redis(url());
  return client.call(...command).finally(() => client.disconnect());
};

afterAll(async () => {
  await stopRedis();
  rmSync(folder, { recursive: true });
});

describe.skipIf(!isThere)("a queue on Redis", () => {
  beforeAll(async () => {
    port = await freePort();
    await startRedis();
    await planNames(path("alone"), names);
    for (const name of ["queue", "memory"]) cpSync(path("alone"), path(name), { recursive: true });
    await runWorker({ path: path("alone"), way: "claims", itemMs: 1 });
    alone = await mergedText(path("alone"));
  }, 60_000);

  test("one worker is killed, one ends, Redis loses everything: the same bytes", async () => {
    const settings = { path: path("queue"), way: "queue", url: url(), lockMs: 1000, itemMs: 100 } as const;
    const [killed, ended] = [startWorker(settings), startWorker(settings)];
    await once(killed.stdout!, "data");
    killed.kill("SIGKILL");
    ended.kill("SIGTERM");
    expect(await once(ended, "exit")).toEqual([0, null]);
    const last = runWorker({ ...settings, itemMs: 30 });
    await stopRedis();
    await startRedis();
    expect(await last).toMatchObject({ code: 0 });
    expect(await mergedText(path("queue"))).toBe(alone);
  }, 120_000);

  test("a shard that fails is tried again, and given up", async () => {
    await planNames(path("fails"), ["/a/broken.wav"]);
    const run = await runWorker({ path: path("fails"), way: "queue", url: url(), itemMs: 1, attempts: 2 });
    expect(run).toMatchObject({ code: 1, shards: ["failed 0", "failed 0"] });
  }, 60_000);

  test("Redis is out of memory: a line, and the work goes on when it has some", async () => {
    await ask("config", "set", "maxmemory", "1");
    const worker = startWorker({ path: path("memory"), way: "queue", url: url(), itemMs: 1 });
    let notes = "";
    worker.stderr!.on("data", (data: Buffer) => (notes += data.toString()));
    await expect
      .poll(() => notes, { timeout: 30_000 })
      .toMatch(/^Redis is out of memory; it is tried again: OOM/m);
    await ask("config", "set", "maxmemory", "0");
    expect(await once(worker, "exit")).toEqual([0, null]);
    expect(await mergedText(path("memory"))).toBe(alone);
  }, 60_000);

  test("there is no Redis: one line", async () => {
    const free = await freePort();
    const run = await runWorker({
      path: path("alone"),
      way: "queue",
      url: `redis://u:secret@127.0.0.1:${free}`,
    });
    expect(run).toMatchObject({
      code: 3,
      notes: `redis://127.0.0.1:${free}: expected a Redis server, got ECONNREFUSED; start redis-server, or correct --queue\n`,
    });
  });
});
