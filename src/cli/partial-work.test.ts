import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import type { TranscriptSegment } from "../decode/segments/recording.js";
import { PartialWork, type Work } from "./partial-work.js";

// Plan: segments of the same work are found again, with their seconds; those of another clip, model
// or option are not, nor are lines that were cut or damaged; nothing stays of finished work.

const root = mkdtempSync(join(tmpdir(), "partial-"));
afterAll(() => rmSync(root, { recursive: true }));
const path = join(root, "talk.jsonl.part");
const model = join(root, "model");
const clip = join(root, "talk.wav");
const work: Work = { file: clip, models: [model], options: { language: "en", hotwords: undefined } };
const seconds = { frontend: 1, encoder: 2, adaptor: 3, prefill: 4, decode: 5 };
const segment = (start: number): TranscriptSegment => ({
  start,
  end: start + 1.5,
  text: `from ${start}`,
  tokenIds: [1, 2],
  finish: "stop",
});

beforeEach(async () => {
  rmSync(path, { force: true });
  mkdirSync(join(model, "inner"), { recursive: true });
  for (const name of ["model.safetensors", "inner/tokenizer.json"]) {
    writeFileSync(join(model, name), "weights");
    utimesSync(join(model, name), 1000, 1000);
  }
  writeFileSync(clip, "samples");
  const first = await PartialWork.open(path, work, false);
  for (const start of [0.1, 2, 4.25]) first.add(segment(start), { ...seconds, decode: start });
  first.close();
});

async function found(again: Work = work, resume = true): Promise<number> {
  const partial = await PartialWork.open(path, again, resume);
  partial.close();
  return partial.size;
}

test("the same work", async () => {
  const partial = await PartialWork.open(path, work, true);
  expect(partial.size).toBe(3);
  expect(partial.seconds).toEqual({ ...seconds, decode: 4.25 });
  expect(partial.known({ startMs: 4250, endMs: 5750 })).toEqual(segment(4.25));
  expect(partial.known({ startMs: 4250, endMs: 5740 })).toBeUndefined();
  partial.add(segment(2), seconds);
  partial.add(segment(7), seconds);
  partial.close();
  expect(await found()).toBe(4);
  expect(readFileSync(path, "utf8").trimEnd().split("\n").length).toBe(5);
});

test.each<[string, () => void, Partial<Work>]>([
  ["another clip", () => writeFileSync(clip, "sampleS"), {}],
  ["another option", () => undefined, { options: { language: "zh" } }],
  ["an option more", () => undefined, { options: { language: "en", maxTokens: 5 } }],
  ["another model", () => undefined, { models: [join(model, "inner")] }],
  ["weights of another size", () => writeFileSync(join(model, "model.safetensors"), "weight"), {}],
  ["weights of another time", () => utimesSync(join(model, "model.safetensors"), 1000, 1001), {}],
  ["another tokenizer", () => writeFileSync(join(model, "inner", "tokenizer.json"), "{}"), {}],
])("%s: nothing is found, and what it does is kept", async (_, change, more) => {
  change();
  expect(await found({ ...work, ...more })).toBe(0);
  const partial = await PartialWork.open(path, { ...work, ...more }, true);
  partial.add(segment(9), seconds);
  partial.close();
  expect(await found({ ...work, ...more })).toBe(1);
});

test.each<[string, (text: string) => string, number]>([
  ["a line that was cut", (text) => text.slice(0, -20), 2],
  ["a last line without its end", (text) => text.slice(0, -1), 2],
  ["a line that is no JSON", (text) => `${text}zzz\n`, 3],
  ["a line without a segment", (text) => `${text}{"segment":{"start":1}}\n`, 3],
  ["a first line that was cut", (text) => text.slice(0, 10), 0],
  ["an empty file", () => "", 0],
  ["zeros", () => "\0".repeat(100), 0],
])("%s: what is before it is found", async (_, change, count) => {
  writeFileSync(path, change(readFileSync(path, "utf8")));
  const partial = await PartialWork.open(path, work, true);
  expect(partial.size).toBe(count);
  partial.add(segment(20), seconds);
  partial.close();
  expect(await found()).toBe(count + 1);
});

test("without resume it begins anew", async () => {
  expect(await found(work, false)).toBe(0);
  appendFileSync(path, "");
  expect(await found()).toBe(0);
});

test("finished work leaves nothing", async () => {
  const partial = await PartialWork.open(path, work, true);
  await partial.remove();
  expect(() => readFileSync(path)).toThrow("ENOENT");
});
