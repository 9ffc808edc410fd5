import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { corpusStatus } from "../src/corpus/status.js";
import { CorpusDirectory } from "../src/corpus/directory.js";
import { retryCorpus } from "../src/corpus/retry.js";
import { mergedText, planNames, program, runWorker, startWorker } from "./helpers/corpus.js";

// Plan: workers in processes of their own, with an engine that makes texts from names, take shards by
// claim files. They are killed, frozen past their lease and woken, and ended by SIGTERM: the merged
// bytes stay those of one worker. A shard that fails is tried again and given up; retry opens it.

const folder = mkdtempSync(join(tmpdir(), "workers-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const names = Array.from({ length: 60 }, (_, i) => `/audio/${i % 17 === 3 ? "bad" : "a"}-${i}.wav`);
let alone: string;

beforeAll(async () => {
  await planNames(path("alone"), names);
  for (const name of ["killed", "frozen", "ended"]) cpSync(path("alone"), path(name), { recursive: true });
  expect(await runWorker({ path: path("alone"), way: "claims", itemMs: 1 })).toMatchObject({ code: 0 });
  alone = await mergedText(path("alone"));
}, 60_000);

test("one worker alone: every utterance once, a bad one with its error", async () => {
  const records = alone
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records.map(({ index }) => index)).toEqual(names.map((_, i) => i));
  expect(records.filter(({ error }) => error).map(({ index }) => index)).toEqual([3, 20, 37, 54]);
  const status = await corpusStatus(await CorpusDirectory.open(path("alone")));
  expect(status).toMatchObject({
    shards: { all: 12, done: 12, held: 0, failed: 0 },
    records: 60,
    failures: { audio: 4 },
    costs: { retries: 0, workers: 1 },
  });
});

test("workers that are killed: others take their shards over", async () => {
  const settings = { path: path("killed"), way: "claims", itemMs: 20, leaseMs: 60_000 } as const;
  for (let i = 0; i < 4; i++) {
    const worker = startWorker(settings);
    await once(worker.stdout!, "data"); // a shard is done, and the next one begun
    await sleep(10 * i);
    worker.kill("SIGKILL");
    await once(worker, "exit");
  }
  const runs = await Promise.all([runWorker(settings), runWorker(settings)]);
  expect(runs.map(({ code }) => code)).toEqual([0, 0]);
  expect(await mergedText(path("killed"))).toBe(alone);
  expect((await corpusStatus(await CorpusDirectory.open(path("killed")))).shards.done).toBe(12);
}, 60_000);

test("a worker that is frozen past its lease and wakes up again changes nothing", async () => {
  const settings = { path: path("frozen"), way: "claims", itemMs: 1, leaseMs: 1000 } as const;
  const frozen = startWorker({ ...settings, itemMs: 400 });
  let printed = "";
  frozen.stdout!.on("data", (data: Buffer) => (printed += data.toString()));
  await once(frozen.stdout!, "data");
  await sleep(100); // in its second shard
  frozen.kill("SIGSTOP");
  const before = printed;
  expect(await runWorker(settings)).toMatchObject({ code: 0 });
  const written = readdirSync(path("frozen/done"));
  expect(written).toHaveLength(12);
  frozen.kill("SIGCONT");
  expect(await once(frozen, "close")).toEqual([0, null]);
  expect(printed.slice(before.length)).toMatch(/^(lost|done) 1\n$/);
  expect(await mergedText(path("frozen"))).toBe(alone);
}, 60_000);

test("SIGTERM gives the shard back, and the next worker has it at once", async () => {
  const settings = { path: path("ended"), way: "claims", itemMs: 300, leaseMs: 600_000 } as const;
  const worker = startWorker(settings);
  await expect.poll(() => claims(path("ended")), { timeout: 30_000 }).toEqual(["000000.1"]);
  worker.kill("SIGTERM");
  const [code] = (await once(worker, "exit")) as [number];
  expect(code).toBe(0);
  expect(readdirSync(path("ended")).includes("done") ? readdirSync(path("ended/done")) : []).toEqual([]);
  expect(await runWorker({ ...settings, itemMs: 1 })).toMatchObject({ code: 0 });
  expect(await mergedText(path("ended"))).toBe(alone);
}, 60_000);

const claims = (directory: string): string[] => {
  const there = statSync(join(directory, "claims"), { throwIfNoEntry: false });
  return there ? readdirSync(join(directory, "claims")).filter((name) => !name.startsWith(".")) : [];
};

test("a shard that fails is tried again, given up, and opened by retry", async () => {
  const directory = await planNames(path("fails"), ["/a/1.wav", ...Array<string>(6).fill("/a/broken.wav")]);
  const run = await runWorker({ path: path("fails"), way: "claims", itemMs: 1, attempts: 2 });
  expect(run.code).toBe(1);
  expect(run.shards).toEqual(["failed 0", "failed 1", "failed 0", "failed 1"]);
  expect(run.notes).toMatch(/shard 0 failed, 2 of 2: .*the disk does not answer/);
  expect((await corpusStatus(directory)).failed).toMatchObject([
    { shard: 0, failures: 2, why: "/a/broken.wav: the disk does not answer" },
    { shard: 1, failures: 2 },
  ]);
  expect(await runWorker({ path: path("fails"), way: "claims", attempts: 2 })).toMatchObject({
    code: 1,
    shards: [],
  });
  expect(await retryCorpus(directory)).toEqual([0, 1]);
  await expect(retryCorpus(directory, { shards: [0, 99] })).rejects.toThrow(
    /: shard: expected a number from 0 to \d+, got 99$/,
  );
  expect((await corpusStatus(directory)).failed).toEqual([]);
  const again = await runWorker({ path: path("fails"), way: "claims", attempts: 1 });
  expect(again.shards).toEqual(["failed 0", "failed 1"]);
}, 60_000);

test("a full disk: one line, the shard is given back, and the next worker does it", async () => {
  const long = names.map((name) => `/audio/${"long".repeat(50)}${name}`); // a result of more than 1 kB
  const directory = await planNames(path("full"), long);
  const settings = { path: path("full"), way: "claims", itemMs: 1, leaseMs: 600_000 } as const;
  const limited = spawnSync("bash", [
    "-c",
    'ulimit -f 1; exec "$@"',
    "bash",
    process.execPath,
    program,
    JSON.stringify(settings),
  ]);
  expect(limited.status).toBe(3);
  expect(limited.stderr.toString()).toMatch(
    /^\S+000000\.jsonl: write: expected a size that the file system takes, got a larger file; [^\n]*\n$/,
  );
  expect(await runWorker(settings)).toMatchObject({ code: 0 });
  expect((await corpusStatus(directory)).shards).toEqual({ all: 12, done: 12, held: 0, failed: 0 });
}, 60_000);
