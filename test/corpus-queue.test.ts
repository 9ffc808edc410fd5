import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CorpusDirectory } from "../src/corpus/directory.js";
import { retryCorpus } from "../src/corpus/retry.js";
import { corpusStatus } from "../src/corpus/status.js";
import { demoModel } from "../src/node/demo.js";
import { cli, jsonLines } from "./helpers/cli.js";
import { mergedText, planNames, runWorker, startWorker } from "./helpers/corpus.js";

// Plan: workers take shards from a redis-server of the test's own. One is killed, one ends by SIGTERM;
// Redis loses everything; a shard that fails is given up; Redis is out of memory, and then is not;
// there is none. The merged bytes are those of claim files. The command line is used as people do. Without
// an installed redis-server this file says so, and tests nothing.

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

const queue = (name: string, ...more: string[]): ReturnType<typeof cli> =>
  cli(["corpus", "queue", path(name), "--queue", url(), "--json", ...more]);

if (!isThere) process.stderr.write("no redis-server is installed: the queue is not tested\n");

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
    const directory = await CorpusDirectory.open(path("fails"));
    const why = "/a/broken.wav: the disk does not answer";
    expect((await corpusStatus(directory)).failed).toEqual([{ shard: 0, failures: 2, why }]);
    expect(await retryCorpus(directory)).toEqual([0]);
    expect((await corpusStatus(directory)).failed).toEqual([]);
    const again = await runWorker({ path: path("fails"), way: "queue", url: url(), itemMs: 1, attempts: 1 });
    expect(again).toMatchObject({ code: 1, shards: ["failed 0"] });
    const [state] = jsonLines(await queue("fails"));
    expect(state).toMatchObject({ counts: { failed: 1 }, failed: { 0: why } });
  }, 60_000);

  test("a shard that Redis gave up and another worker did: what else is open is queued", async () => {
    const audio = [...Array<string>(5).fill("/a/broken.wav"), ...names.slice(0, 5)];
    const directory = await planNames(path("mixed"), audio);
    const settings = { path: path("mixed"), way: "queue", url: url(), itemMs: 1, attempts: 1 } as const;
    expect(await runWorker(settings)).toMatchObject({ code: 1 });
    const mark = readFileSync(directory.donePath(1, 0), "utf8");
    const { corpus, input, ...rest } = JSON.parse(mark) as Record<string, unknown>;
    const other = { ...rest, corpus, shard: 0, input: directory.shards[0].sha256 };
    writeFileSync(directory.resultPath(0, 0), readFileSync(directory.resultPath(1, 0)));
    writeFileSync(directory.donePath(0, 0), JSON.stringify(other));
    rmSync(directory.donePath(1, 0));
    expect(input).toBe(directory.shards[1].sha256);
    expect(await runWorker(settings)).toMatchObject({ code: 0, shards: ["done 1"] });
    expect(jsonLines(await queue("mixed"))).toMatchObject([{ counts: { failed: 0 }, failed: {} }]);
  }, 60_000);

  test("the command line: a queue that is paused, changed, resumed and worked on by two", async () => {
    const clips = join(demoModel, "clips", "clips.jsonl");
    const plan = ["corpus", "plan", clips, "--limit", "4", "--shard-seconds", "3", "--out", path("cli")];
    const [{ shards }] = jsonLines(await cli([...plan, "--json"]));
    expect(jsonLines(await queue("cli", "--pause"))).toMatchObject([{ paused: true, counts: { wait: 0 } }]);
    const work = ["corpus", "work", path("cli"), "--queue", url()];
    const workers = Promise.all([cli(work), cli([...work, "--json"])]);
    await expect
      .poll(async () => jsonLines(await queue("cli")), { timeout: 60_000, interval: 500 })
      .toMatchObject([{ paused: true, counts: { wait: shards, active: 0 } }]);
    const text = await cli(["corpus", "queue", path("cli"), "--queue", url(), "--first", "1"]);
    expect(text).toMatchObject({ code: 0, stderr: "" });
    const counts = `${String(shards)} wait, 0 active, 0 delayed, 0 prioritized, 0 failed`;
    expect(text.stdout).toMatch(new RegExp(`^corpus-[0-9a-f]{16}: paused; ${counts}\\n$`));
    expect(jsonLines(await queue("cli", "--resume"))).toMatchObject([{ paused: false }]);
    const [plain, json] = await workers;
    expect([plain.code, json.code]).toEqual([0, 0]);
    expect(plain.stdout).toMatch(/^\d shards, 0\.00 h of audio in \d+ s of the device\n$/);
    const done = jsonLines(json).length + Number(/^\d/.exec(plain.stdout));
    expect(done).toBe(shards);
    await cli(["corpus", "merge", path("cli"), "--out", path("cli.jsonl")]);
    const lines = readFileSync(path("cli.jsonl"), "utf8").split("\n").slice(0, -1);
    expect(lines.map((line) => (JSON.parse(line) as { text: string }).text !== "")).toEqual(
      Array(4).fill(true),
    );
    expect(await cli(work)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^0 shards/) as string });
  }, 120_000);

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
