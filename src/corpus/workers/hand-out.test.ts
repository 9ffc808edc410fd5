import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { planNames } from "../../../test/helpers/corpus.js";
import { CorpusDirectory } from "../directory.js";
import { type CorpusEngine, ItemFailure } from "../engine/engine.js";
import { writeOutput } from "../merge/outputs.js";
import { retryCorpus } from "../retry.js";
import { corpusStatus } from "../status.js";
import { Claims } from "./claims.js";
import { AudioOutOfReach } from "./reach.js";
import { Strides } from "./strides.js";
import { workCorpus } from "./worker.js";

// Plan: what claims, indexes and retry do to shards in this process, with an engine that makes texts
// from names: a claim is dropped by its holder alone; done means mark and result; retry opens what was
// given up and nothing else; tries that a kill ended count; a worker without the disk ends.

const folder = mkdtempSync(join(tmpdir(), "hand-out-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);

const engine: CorpusEngine = {
  width: 2,
  device: "none",
  run: ({ audio }) => {
    if (audio.includes("gone")) return Promise.reject(new ItemFailure("missing", `${audio}: no such file`));
    if (audio.includes("broken")) return Promise.reject(new Error(`${audio}: the disk does not answer`));
    return Promise.resolve({ seconds: 10, segments: [{ start: 0, end: 10, text: audio }] });
  },
  usage: () => ({ gpuSeconds: 0, restarts: 0 }),
  stop: () => Promise.resolve(),
};
const once = { attempts: 1, backoffMs: 1, pollMs: 5 };

async function work(directory: CorpusDirectory, way: "claims" | number, worker = "w"): Promise<number[]> {
  const options = { directory, worker, ...once };
  const source = way === "claims" ? new Claims(options) : new Strides(options, { index: way });
  const { failed } = await workCorpus({ directory, source, engine, worker });
  return [...failed.keys()];
}

test("a claim that was removed and made again is its new holder's, whatever the former one does", async () => {
  for (const outcome of ["done", "failed"] as const) {
    const directory = await planNames(path(`nonce-${outcome}`), ["/a/1.wav"]);
    const [stop, stopFormer] = [new AbortController(), new AbortController()];
    const former = new Claims({ directory, worker: "former", ...once });
    const claim = directory.claimPath(0, 1);
    await former.run(async () => {
      rmSync(claim); // as a worker does that took it over meanwhile, and is done
      await retryCorpus(directory, { shards: [0] });
      const later = new Claims({ directory, worker: "later", ...once });
      const held = new Promise<void>((resolve) => {
        void later.run(() => {
          resolve();
          return new Promise(() => undefined);
        }, stop.signal);
      });
      await held;
      stop.abort();
      setTimeout(() => stopFormer.abort(), 50);
      if (outcome === "failed") throw new Error("too late");
    }, stopFormer.signal);
    expect(JSON.parse(readFileSync(claim, "utf8"))).toMatchObject({
      worker: "later",
      state: "held",
      round: 1,
    });
  }
});

test.each([
  ["its result is gone", "resultPath", undefined],
  ["its mark is gone", "donePath", undefined],
  ["its mark was cut", "donePath", '{"corpus":'],
  ["its mark is of another plan", "donePath", '{"corpus":"other","input":"other"}'],
] as const)("a shard is not done where %s: the next worker does it", async (name, of, text) => {
  const directory = await planNames(path(name), ["/a/1.wav"]);
  await work(directory, "claims");
  const whole = readFileSync(directory.resultPath(0, 0), "utf8");
  const file = directory[of](0, 0);
  if (text === undefined) rmSync(file);
  else writeFileSync(file, text);
  const again = await CorpusDirectory.open(directory.path);
  expect((await corpusStatus(again)).shards).toMatchObject({ done: 0 });
  await work(again, "claims");
  expect((await corpusStatus(again)).shards).toMatchObject({ done: 1, held: 0 });
  expect(readFileSync(directory.resultPath(0, 0), "utf8")).toBe(whole);
});

test("retry opens what an index gave up, and what claims gave up", async () => {
  for (const way of ["claims", 0] as const) {
    const directory = await planNames(path(`up-${way}`), ["/a/broken.wav"]);
    expect(await work(directory, way)).toEqual([0]);
    const failed = [{ shard: 0, failures: 1, why: "/a/broken.wav: the disk does not answer" }];
    expect(await corpusStatus(directory)).toMatchObject({ shards: { failed: 1 }, failed });
    expect(await retryCorpus(directory)).toEqual([0]);
    expect(await corpusStatus(directory)).toMatchObject({ shards: { failed: 0, held: 0 }, failed: [] });
    expect(await retryCorpus(directory)).toEqual([]);
  }
});

test("retry leaves a shard alone that is done, though its claim failed before", async () => {
  const directory = await planNames(path("done"), ["/a/1.wav"]);
  mkdirSync(directory.claimsPath);
  const claim = { worker: "w", owner: {}, round: 0, state: "failed", failures: 3, why: "once" };
  writeFileSync(directory.claimPath(0, 1), JSON.stringify(claim));
  await work(directory, 0);
  expect(await retryCorpus(directory)).toEqual([]);
  expect(existsSync(directory.resultPath(0, 0))).toBe(true);
});

test("a try that a kill ended is a retry of the next one", async () => {
  const directory = await planNames(path("killed"), ["/a/1.wav"]);
  mkdirSync(directory.costsPath);
  const begun = { shard: 0, round: 0, outcome: "begun", at: "2026-01-01T00:00:00.000Z" };
  writeFileSync(join(directory.costsPath, "killed.jsonl"), `${JSON.stringify(begun)}\n`);
  expect((await corpusStatus(directory)).costs).toMatchObject({ retries: 0, workers: 1 });
  await work(directory, "claims");
  expect((await corpusStatus(directory)).costs).toMatchObject({ retries: 1, workers: 2 });
});

test("a merge to tars that does not come to its end leaves nothing", async () => {
  const directory = await planNames(
    path("tars"),
    Array.from({ length: 6 }, (_, i) => `/a/${i}.wav`),
  );
  const long: CorpusEngine = {
    ...engine,
    run: () => Promise.resolve({ seconds: 4000, segments: [{ start: 0, end: 4000, text: "a" }] }),
  };
  const source = new Strides({ directory, worker: "w", ...once }, { index: 0 });
  await workCorpus({ directory, source, engine: long, worker: "w" }); // the first shard of two
  const out = path("tars.out");
  await expect(writeOutput(directory, { to: "webdataset", out })).rejects.toThrow(
    /expected all done, got shard 1/,
  );
  expect(readdirSync(folder).filter((name) => name.startsWith("tars.out"))).toEqual([]);
});

// Plan: the engine does not find audio. Where the whole directory is gone or empty, the worker ends;
// otherwise each file that is missing is a record.
test.each([
  ["the directory is gone", ["gone-1.wav", "gone-2.wav"], undefined, "ends"],
  ["the directory is empty", ["gone-1.wav"], [], "ends"],
  ["other files are there", ["gone-1.wav", "gone-2.wav"], ["other.wav"], "records"],
  ["one of two is there", ["gone-1.wav", "2.wav"], undefined, "records"],
] as const)("audio that is missing: %s", async (name, audio, inside, what) => {
  const disk = path(`disk ${name}`);
  if (inside) mkdirSync(disk);
  for (const file of inside ?? []) writeFileSync(join(disk, file), "");
  const directory = await planNames(
    path(`reach ${name}`),
    audio.map((file) => join(disk, file)),
  );
  if (what === "ends") {
    for (const way of ["claims", 0] as const)
      await expect(work(directory, way)).rejects.toThrow(AudioOutOfReach);
    await expect(work(directory, 0)).rejects.toThrow(
      `${disk}: audio of shard 0: expected its ${audio.length === 1 ? "file" : "2 files"} on this machine, got no files in that directory, or no directory; mount the disk, or record them as missing with --accept-missing`,
    );
    expect(await corpusStatus(directory)).toMatchObject({
      shards: { done: 0, held: 0, failed: 0 },
      failures: {},
    });
    const source = new Strides({ directory, worker: "w", ...once }, { index: 0 });
    await workCorpus({ directory, source, engine, worker: "w", acceptMissing: true });
  } else await work(directory, "claims");
  const missing = audio.filter((file) => file.startsWith("gone")).length;
  expect(await corpusStatus(directory)).toMatchObject({ shards: { done: 1 }, failures: { missing } });
  expect(readdirSync(dirname(directory.donePath(0, 0)))).toEqual(["000000.json"]);
});
