import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { values } from "../../test/gpu.js";
import { FeatureCache, cacheKey } from "./feature-cache.js";

// An entry comes back bit for bit; one that is missing, cut at any place, changed in any byte of
// its data, or of another width is none; nothing is left beside it; the key changes with each of
// its parts and with nothing else.
let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "funasr-webgpu-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const key = cacheKey({ encoder: "e", audio: "a", frontend: { melBins: 80 } });
const rows = { frames: 7, data: values(7 * 4, 1) };

test("comes back as it was, and nothing else is written", async () => {
  const cache = new FeatureCache(directory, 4);
  expect(await cache.read(key)).toBeUndefined();
  expect(await cache.head(key)).toBeUndefined();
  await cache.write(key, rows);
  expect(await cache.read(key)).toEqual(rows);
  expect(await cache.head(key)).toEqual({ frames: 7 });
  expect(readdirSync(dirname(cache.path(key)))).toHaveLength(1);
});

test("what is wrong with the audio stays in the header", async () => {
  const cache = new FeatureCache(directory, 4);
  const faults = { damage: "1 damaged frame was skipped", warning: "the channels cancel each other" };
  await cache.write(key, rows, faults);
  expect(await cache.head(key)).toEqual({ frames: 7, ...faults });
  expect(await cache.read(key)).toEqual(rows);
});

test("a damaged entry is none", async () => {
  const cache = new FeatureCache(directory, 4);
  await cache.write(key, rows);
  const path = cache.path(key);
  const whole = readFileSync(path);
  for (let length = 0; length < whole.length; length += 13) {
    writeFileSync(path, whole);
    truncateSync(path, length);
    expect(await cache.read(key)).toBeUndefined();
  }
  for (let at = whole.length - rows.data.byteLength; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at] ^= 1;
    writeFileSync(path, changed);
    expect(await cache.read(key)).toBeUndefined();
  }
  await cache.write(key, rows);
  expect(await cache.read(key)).toEqual(rows);
});

test("an entry of another width is none", async () => {
  await new FeatureCache(directory, 4).write(key, rows);
  expect(await new FeatureCache(directory, 5).read(key)).toBeUndefined();
});

test("the key names all that the rows depend on", () => {
  const parts = { encoder: "e", audio: "a", segment: [0, 10] as const, frontend: { melBins: 80, dither: 0 } };
  const keys = [
    parts,
    { ...parts, encoder: "f" },
    { ...parts, audio: "b" },
    { ...parts, segment: [0, 11] as const },
    { ...parts, segment: undefined },
    { ...parts, frontend: { melBins: 80, dither: 1 } },
  ].map(cacheKey);
  expect(new Set(keys).size).toBe(keys.length);
  expect(cacheKey({ ...parts, frontend: { dither: 0, melBins: 80 } })).toBe(keys[0]);
  expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
});
