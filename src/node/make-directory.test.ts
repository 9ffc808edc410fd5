import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeDirectory } from "./make-directory.js";

// Plan: new directories with those above, existing ones, two makers at once, files in the way, and
// /proc, where mkdir -p of Node never ends.
let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "make-directory-"));
  await writeFile(join(root, "file"), "");
});
afterAll(() => rm(root, { recursive: true }));

it("makes every directory of the way, and leaves those that are there", async () => {
  for (let run = 0; run < 2; run++) await makeDirectory(join(root, "a/b/c/"));
  expect((await stat(join(root, "a/b/c"))).isDirectory()).toBe(true);
});

it("lets two make the same directory at once", async () => {
  const path = join(root, "x/y/z");
  await Promise.all([makeDirectory(path), makeDirectory(path), makeDirectory(path)]);
  expect((await stat(path)).isDirectory()).toBe(true);
});

it.each([
  ["a file in its place", "file", "a directory"],
  ["a file on the way", "file/inside", "a directory to write it in"],
])("refuses %s", async (_, name, expected) => {
  const file = join(root, name);
  await expect(makeDirectory(file)).rejects.toMatchObject({ file, field: "write", expected, got: "a file" });
});

it.runIf(existsSync("/proc/self")).each(["/proc/x", "/proc/x/y", "/proc/self/x", "/sys/kernel/x/y"])(
  "ends with the system's refusal for %s",
  async (path) => {
    await expect(makeDirectory(path)).rejects.toThrow(`${path}: write: expected`);
  },
);
