import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { planCorpus } from "../src/corpus/plan/plan.js";
import { readUtterances } from "../src/data/utterances.js";
import { demoModel } from "../src/node/demo.js";
import { binary, cli, expectRefusal, jsonLines } from "./helpers/cli.js";

// Plan: the demo's clips and files that have no text are planned, done by one worker and by three at
// once (one of them killed), and merged to the same bytes; status counts them. Then refusals of each
// part, each with one line.

const folder = mkdtempSync(join(tmpdir(), "corpus-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const clips = join(demoModel, "clips");
const list = path("list.jsonl");

const plan = (out: string, ...more: string[]): ReturnType<typeof cli> =>
  cli(["corpus", "plan", list, "--out", path(out), "--shard-seconds", "6", "--json", ...more]);

beforeAll(async () => {
  writeFileSync(path("noise.wav"), "not audio at all");
  const lines = ["en-seen-1.wav", "zh-seen-3.mp3", "zh-unseen-2.m4a", "en-unseen-2.ogg", "en-seen-3.flac"];
  const audio = [...lines.map((name) => join(clips, name)), path("noise.wav"), path("gone.wav")];
  writeFileSync(
    list,
    `${audio.map((file, i) => JSON.stringify({ audio: file, key: `k${i}` })).join("\n")}\n`,
  );
  const [planned] = jsonLines(await plan("one"));
  expect(planned).toMatchObject({
    utterances: 7,
    unknown: 3,
    skipped: 0,
    existed: false,
    model: { name: "demo" },
  });
  cpSync(path("one"), path("many"), { recursive: true });
  expect(await cli(["corpus", "work", path("one")])).toMatchObject({ code: 0 });
  expect(await cli(["corpus", "merge", path("one"), "--out", path("one.jsonl")])).toMatchObject({ code: 0 });
}, 120_000);

interface Merged {
  readonly index: number;
  readonly key: string;
  readonly text: string;
  readonly segments: readonly { readonly start: number; readonly end: number }[];
  readonly error?: { readonly kind: string; readonly message: string };
}
const merged = (file: string): Merged[] =>
  readFileSync(path(file), "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Merged);

test("every utterance has a record: its text, or why there is none", async () => {
  const records = merged("one.jsonl");
  expect(records.map(({ key }) => key)).toEqual(["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
  expect(records.map(({ text }) => text).slice(0, 5)).toEqual([
    "set the oven to eighty two degrees",
    "浴室的烤箱开着吗",
    "二十八分钟后提醒我付账单",
    "five nine zero three one three four five",
    "set the air conditioner to sixty eight degrees",
  ]);
  expect(records.map(({ segments }) => segments.length)).toEqual([1, 1, 1, 1, 1, 0, 0]);
  expect(records.map(({ error }) => error?.kind).slice(5)).toEqual(["audio", "missing"]);
  const [status] = jsonLines(await cli(["corpus", "status", path("one"), "--json"]));
  expect(status).toMatchObject({ records: 7, failures: { audio: 1, missing: 1 }, costs: { retries: 0 } });
});

test("three workers, of which one is killed, give the same bytes", async () => {
  const work = ["corpus", "work", path("many"), "--width", "1", "--json"];
  const killed = spawn(process.execPath, [binary, ...work], { stdio: ["ignore", "pipe", "ignore"] });
  await once(killed.stdout, "data"); // it has done a shard
  killed.kill("SIGKILL");
  const runs = await Promise.all([cli(work), cli([...work, "--claims"])]);
  expect(runs.map(({ code }) => code)).toEqual([0, 0]);
  await cli(["corpus", "merge", path("many"), "--out", path("many.jsonl")]);
  expect(readFileSync(path("many.jsonl"), "utf8")).toBe(readFileSync(path("one.jsonl"), "utf8"));
}, 120_000);

test("merge for training: utterances whose audio train, FunASR and tars take, filtered", async () => {
  const merge = (to: string, out: string, ...more: string[]): ReturnType<typeof cli> =>
    cli(["corpus", "merge", path("one"), "--to", to, "--out", path(out), "--json", ...more]);
  expect(jsonLines(await merge("train", "train.jsonl"))).toMatchObject([
    { lines: 5, dropped: { failed: 2 } },
  ]);
  const train = [];
  for await (const utterance of readUtterances(path("train.jsonl"))) train.push(utterance);
  expect(train[1]).toMatchObject({ audio: join(clips, "zh-seen-3.mp3"), text: "浴室的烤箱开着吗" });
  await merge("funasr", "funasr.jsonl", "--language", "zh");
  const conversations = [];
  for await (const { audio, text, prompt } of readUtterances(path("funasr.jsonl")))
    conversations.push({ audio, text, prompt });
  expect(conversations).toMatchObject([
    { text: "浴室的烤箱开着吗", prompt: "语音转写：" },
    { text: "二十八分钟后提醒我付账单" },
  ]);
  const [tars] = jsonLines(await merge("webdataset", "tars", "--min-agreement", "0.87"));
  expect(tars).toMatchObject({ lines: 4, dropped: { failed: 2, agreement: 1 } });
  const again = await cli(["corpus", "plan", path("tars"), "--out", path("again"), "--json"]);
  expect(jsonLines(again)).toMatchObject([{ utterances: 4, unknown: 0 }]);
  expect(await cli(["corpus", "work", path("again")])).toMatchObject({ code: 0 });
  await cli(["corpus", "merge", path("again"), "--out", path("again.jsonl")]);
  const texts = merged("one.jsonl").map(({ text }) => text);
  expect(merged("again.jsonl").map(({ text }) => text)).toEqual(texts.slice(0, 4));
}, 60_000);

test("evaluate scores a merge without a model; status writes a page", async () => {
  const given = ["evaluate", "--hypotheses", path("one.jsonl"), "--json"];
  expect(expectRefusal(await cli(given.slice(0, 3)))).toMatch(
    /reference: expected one in a line or more, got none/,
  );
  const data = path("references.jsonl");
  const lines = [
    { audio: join(clips, "en-seen-1.wav"), text: "set the oven to eighty degrees" },
    { audio: join(clips, "zh-seen-3.mp3"), text: "浴室的烤箱开着吗" },
  ];
  writeFileSync(data, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const [{ summary }] = jsonLines(await cli([...given, "--data", data]));
  expect(summary).toMatchObject({ groups: [{ utterances: 2, failed: 0, exact: 1 }, {}, {}] });
  const text = await cli(["evaluate", "--hypotheses", path("one.jsonl"), "--data", data, "--agreement"]);
  expect(text).toMatchObject({ code: 0, stderr: "" });
  expect(text.stdout).toMatch(/^weights +script +clips[^]*^given +all +2/m);
  expect(await cli([...given, "--model", "x", "--data", data])).toMatchObject({ code: 2 });
  await cli(["corpus", "status", path("one"), "--html", path("status.html")]);
  expect(readFileSync(path("status.html"), "utf8")).toMatch(
    /<h1>Corpus: 5 of 5 shards<[^]*<td>missing<[^]*1</,
  );
}, 60_000);

describe("refusals", () => {
  test("of a plan: nothing to do, another plan, a directory of something else", async () => {
    writeFileSync(path("empty.jsonl"), "\n{}\n");
    const empty = await cli(["corpus", "plan", path("empty.jsonl"), "--out", path("empty")]);
    expect(expectRefusal(empty)).toMatch(/content: expected an utterance or more, got none, 1 skipped/);
    expect(jsonLines(await plan("one"))).toMatchObject([{ existed: true }]);
    expect((await plan("one", "--language", "zh")).stderr).toMatch(/other input, options, model or version/);
    const other = await cli(["corpus", "plan", list, "--out", clips]);
    expect(expectRefusal(other)).toMatch(/expected a new or an empty directory/);
    expect(await cli(["corpus", "plan", list])).toMatchObject({ code: 2 });
  });

  test("of work: no plan, another version, a model that is not there or another, a changed plan", async () => {
    expect(expectRefusal(await cli(["corpus", "work", folder]))).toMatch(
      /expected one that corpus plan made/,
    );
    const changed = (name: string, file: string, change: (text: string) => string): string => {
      cpSync(path("one"), path(name), { recursive: true });
      rmSync(join(path(name), "done"), { recursive: true });
      const at = join(path(name), file);
      writeFileSync(at, change(readFileSync(at, "utf8")));
      return path(name);
    };
    const options = changed("options", "corpus.json", (text) =>
      text.replace(/"options": {/, '$&"itn": false'),
    );
    for (const command of ["work", "status", "retry"])
      expect(expectRefusal(await cli(["corpus", command, options]))).toMatch(
        /options.corpus\.json: content: expected the plan that was written, got another, or none; it was changed/,
      );
    const files = { name: "demo", sha256: "0" };
    const out = path("version");
    await planCorpus({ inputs: [list], out, version: "9.9.9", model: files, vad: files });
    expect(expectRefusal(await cli(["corpus", "work", out]))).toMatch(
      /version: expected [^ ]+, as of this package, got 9\.9\.9; install funasr-webgpu 9\.9\.9/,
    );
    const model = changed("model", "corpus.json", (text) =>
      text.replace('"name": "demo"', '"name": "/none/model"'),
    );
    expect(expectRefusal(await cli(["corpus", "work", model]))).toMatch(
      /"\/none\/model": expected a model directory/,
    );
    const vad = join(demoModel, "../vad");
    expect(expectRefusal(await cli(["corpus", "work", path("version"), "--model", vad]))).toMatch(/version/);
    expect(expectRefusal(await cli(["corpus", "work", path("one"), "--model", vad]))).toMatch(
      /content: expected the plan's [0-9a-f]{12}, got [0-9a-f]{12}; copy the files of the plan/,
    );
    const index = changed("index", "shards.jsonl", (text) => text.replace('"items":', '"items" :'));
    expect(expectRefusal(await cli(["corpus", "work", index]))).toMatch(/changed since it was planned/);
    const shard = changed("shard", "shards/000001.jsonl", (text) => text.replace(".m4a", ".m4b"));
    const run = await cli(["corpus", "work", shard]);
    expect(expectRefusal(run)).toMatch(
      /shards.000001\.jsonl: content: expected the lines that the plan wrote/,
    );
    expect(readdirSync(join(shard, "done"))).toEqual(["000000.json"]);
  }, 60_000);

  // Plan: what merge and status may not replace: [name, place].
  test.each([
    ["the input", () => list],
    ["the plan", () => join(path("one"), "corpus.json")],
    ["a shard", () => join(path("one"), "shards/000000.jsonl")],
    ["a result", () => join(path("one"), "results/000000.jsonl")],
  ])("of an output in the place of %s", async (_, place) => {
    const before = readFileSync(place(), "utf8");
    for (const command of [
      ["merge", path("one"), "--out", place()],
      ["merge", path("one"), "--to", "train", "--out", place()],
      ["status", path("one"), "--html", place()],
    ])
      expect(expectRefusal(await cli(["corpus", ...command]))).toMatch(
        /: write: expected another file than is read, got the same; name another/,
      );
    expect(readFileSync(place(), "utf8")).toBe(before);
  });

  test("of merge: what is not done, or was changed; retry does it again", async () => {
    cpSync(path("one"), path("lost"), { recursive: true });
    writeFileSync(join(path("lost"), "results/000001.jsonl"), "{}\n");
    const merge = ["corpus", "merge", path("lost"), "--out", path("lost.jsonl")];
    expect(expectRefusal(await cli(merge))).toMatch(
      /shards: expected all done, got shard 1: its result was changed/,
    );
    expect(await cli([...merge, "--partial"])).toMatchObject({ code: 0 });
    expect(merged("lost.jsonl").length).toBeLessThan(7);
    const retried = await cli(["corpus", "retry", path("lost"), "--kinds", "engine", "--json"]);
    expect(jsonLines(retried)).toMatchObject([{ shards: [1] }]);
    expect(await cli(["corpus", "work", path("lost"), "--shard", "1"])).toMatchObject({ code: 0 });
    expect(await cli(merge)).toMatchObject({ code: 0 });
    expect(readFileSync(path("lost.jsonl"), "utf8")).toBe(readFileSync(path("one.jsonl"), "utf8"));
  }, 60_000);
});
