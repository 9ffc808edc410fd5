import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os, { tmpdir } from "node:os";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CheckpointError } from "../formats/errors.js";
import { adapterNames, openDevice } from "./device.js";
import {
  type TuningKey,
  parseTuning,
  readTuning,
  tuningFile,
  tuningKey,
  writeTuning,
} from "./tuning-cache.js";

// A tuning comes back as it was written; one of another adapter, version or kernels is none; a
// damaged one is refused by the field's name; where it is kept; and that an opened device takes it,
// skips one that is stale, and warns of one that is damaged.
const directory = mkdtempSync(join(tmpdir(), "tuning-"));
afterAll(() => rmSync(directory, { recursive: true }));

const key: TuningKey = {
  package: "1.2.3",
  kernels: "0123456789abcdef",
  lanes: 8,
  vendor: "v",
  architecture: "a",
  device: "d",
  description: "driver 1",
};
const sizes = { "linear bf16 9+": { TM: 8, TN: 3 }, "linear q4 1": { workgroups: 16 } };
const text = (changes: Record<string, unknown>): string => JSON.stringify({ ...key, sizes, ...changes });

describe("the file", () => {
  test("comes back as it was written, under its name alone", async () => {
    const file = tuningFile(key, { FUNASR_WEBGPU_TUNING: join(directory, "new", "place") })!;
    await writeTuning(file, key, sizes);
    expect(await readTuning(file, key)).toEqual(sizes);
    expect(readdirSync(join(directory, "new", "place"))).toEqual([file.slice(file.lastIndexOf("/") + 1)]);
    await writeTuning(file, key, {});
    expect(await readTuning(file, key)).toEqual({});
  });

  test("that is not there is no tuning", async () => {
    expect(await readTuning(join(directory, "none.json"), key)).toBeUndefined();
  });

  test.each(["package", "kernels", "vendor", "architecture", "device", "description", "lanes"] as const)(
    "of another %s is none, whatever its sizes are called",
    (field) => {
      const other = field === "lanes" ? 16 : "another";
      expect(parseTuning(text({ [field]: other, sizes: { old: { X: 1 } } }), "f", key)).toBeUndefined();
      expect(parseTuning(text({}), "f", { ...key, [field]: other })).toBeUndefined();
    },
  );

  test.each([
    ["package", text({ package: 1 }), /^f: package: expected a string, got 1;/],
    ["lanes", text({ lanes: "8" }), /^f: lanes: expected a number, got "8";/],
    ["sizes", text({ sizes: [] }), /^f: sizes: expected an object, got \[\];/],
    ["a field", text({ more: 1 }), /^f: more: expected no such field, got 1;/],
    [
      "a class",
      text({ sizes: { "linear bf15 1": {} } }),
      /^f: sizes\.linear bf15 1: expected the name of a shape class, got "linear bf15 1"; run/,
    ],
    [
      "__proto__",
      text({}).replace('"linear q4 1"', '"__proto__"'),
      /^f: sizes\.__proto__: expected the name/,
    ],
    [
      "no candidate",
      text({ sizes: { "linear bf16 9+": { TM: 4096, TN: 3 } } }),
      /^f: sizes\.linear bf16 9\+: expected one of \{"TM":8,"TN":2\}.*, got "\{\\"TM\\":4096,\\"TN\\":3\}";/,
    ],
    [
      "more than the sizes",
      text({ sizes: { "linear q4 1": { workgroups: 16, TM: 1 } } }),
      /linear q4 1: expected one of/,
    ],
    ["no sizes", text({ sizes: { "linear q4 1": 16 } }), /linear q4 1: expected one of .*, got 16;/],
    ["no JSON", text({}).slice(0, -3), /^f: /],
    ["no object", "[]", /^f: /],
  ])("damaged, %s: refused by name, with what to do", (_, damaged, message) => {
    expect(() => parseTuning(damaged, "f", key)).toThrow(CheckpointError);
    expect(() => parseTuning(damaged, "f", key)).toThrow(message);
    if (message.source.length > 6) expect(() => parseTuning(damaged, "f", key)).toThrow(/bench --tune/);
  });

  test("longer than 64 KiB: refused before it is read", async () => {
    const file = join(directory, "long.json");
    writeFileSync(file, " ".repeat((64 << 10) + 1));
    await expect(readTuning(file, key)).rejects.toThrow(/size: expected at most 65536 bytes/);
  });
});

test("a user without a home, as in containers, has no tuning", () => {
  const spy = vi.spyOn(os, "homedir").mockImplementation(() => {
    throw new Error("uv_os_homedir returned ENOENT");
  });
  syncBuiltinESMExports();
  expect(tuningFile(key, {})).toBeUndefined();
  expect(tuningFile(key, { XDG_CACHE_HOME: "/c" })).toMatch(/^\/c\//);
  spy.mockRestore();
  syncBuiltinESMExports();
});

test("its place: the cache directory, else the home's, or as FUNASR_WEBGPU_TUNING says; a name an adapter", () => {
  const name = /tuning-[0-9a-f]{16}\.json$/;
  const place = (environment: NodeJS.ProcessEnv): string | undefined =>
    tuningFile(key, environment)?.replace(name, "*");
  expect(place({ XDG_CACHE_HOME: "/c", HOME: "/h" })).toBe(join("/c", "funasr-webgpu", "*"));
  expect(place({ XDG_CACHE_HOME: "", HOME: "/h" })).toBe(join("/h", ".cache", "funasr-webgpu", "*"));
  expect(place({ HOME: "/h", FUNASR_WEBGPU_TUNING: "/t" })).toBe(join("/t", "*"));
  expect(place({ HOME: "/h", FUNASR_WEBGPU_TUNING: "off" })).toBeUndefined();
  const of = (change: Partial<TuningKey>): string => tuningFile({ ...key, ...change }, { HOME: "/h" })!;
  expect(of({ package: "2", kernels: "other" })).toBe(of({}));
  for (const other of [{ device: "x" }, { description: "driver 2" }, { lanes: 4 }])
    expect(of(other)).not.toBe(of({}));
});

describe("an opened device", () => {
  beforeEach(() => void vi.stubEnv("FUNASR_WEBGPU_TUNING", directory));
  afterEach(() => void vi.unstubAllEnvs());

  /** The key of this adapter, and its file. */
  async function here(): Promise<{ now: TuningKey; file: string }> {
    const { gpu, adapter } = await openDevice({ tuning: false });
    gpu.destroy();
    const now = tuningKey({ ...adapterNames(adapter), lanes: gpu.subgroupSize! });
    return { now, file: tuningFile(now)! };
  }

  async function opened(options?: Parameters<typeof openDevice>[0]): Promise<unknown> {
    const { gpu } = await openDevice(options);
    gpu.destroy();
    return gpu.tuning;
  }

  test("takes it, unless it is off or the device has no subgroups", async () => {
    const { now, file } = await here();
    expect(await opened()).toEqual({});
    await writeTuning(file, now, sizes);
    expect(await opened()).toEqual(sizes);
    expect(await opened({ tuning: false })).toEqual({});
    expect(await opened({ subgroups: false })).toEqual({});
    await writeTuning(file, { ...now, kernels: "other" }, sizes);
    expect(await opened()).toEqual({});
  });

  test("warns of a damaged one, which stays, and takes the usual sizes", async () => {
    const { file } = await here();
    writeFileSync(file, "{");
    const warning = vi.spyOn(process, "emitWarning").mockReturnValue();
    expect(await opened()).toEqual({});
    expect(warning.mock.calls).toHaveLength(1);
    expect(String(warning.mock.calls[0][0])).toMatch(
      /^\S+tuning-[0-9a-f]{16}\.json: .*; the usual sizes are taken$/,
    );
    expect(readFileSync(file, "utf8")).toBe("{");
    warning.mockRestore();
  });

  test("warns of one that the system does not open, here a link to itself", async () => {
    const { file } = await here();
    rmSync(file, { force: true });
    symlinkSync(file, file);
    const warning = vi.spyOn(process, "emitWarning").mockReturnValue();
    expect(await opened()).toEqual({});
    expect(String(warning.mock.calls[0][0])).toMatch(/; the usual sizes are taken$/);
    warning.mockRestore();
    rmSync(file);
  });
});

test("the key has this package's version and a hash of the kernels' sources", () => {
  const made = tuningKey({ vendor: "v", architecture: "a", device: "d", description: "x", lanes: 8 });
  expect(made.package).toMatch(/^\d+\.\d+\.\d+/);
  expect(made.kernels).toMatch(/^[0-9a-f]{16}$/);
  expect(made).toMatchObject({ vendor: "v", architecture: "a", device: "d", description: "x", lanes: 8 });
});
