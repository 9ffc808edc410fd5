import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readClip } from "./clip.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "clip-"));
  writeFileSync(join(folder, "five.wav"), "12345");
  execFileSync("mkfifo", [join(folder, "pipe.wav")]);
});
afterAll(() => rmSync(folder, { recursive: true }));

// Plan: a file comes whole up to the limit and not past it, and whatever has no end is refused
// without being opened.
it("reads a file of up to the limit", async () => {
  const file = join(folder, "five.wav");
  expect(Buffer.from(await readClip(file, 5)).toString()).toBe("12345");
  await expect(readClip(file, 4)).rejects.toThrow(
    `${file}: file size: expected at most 4 bytes, got 5; cut the clip into parts`,
  );
});

it.runIf(process.platform === "linux")("stops reading where a length of 0 was not true", async () => {
  await expect(readClip("/proc/self/status", 64)).rejects.toThrow(
    "file size: expected at most 64 bytes, got more",
  );
});

it.each([
  ["", "a directory"],
  ["pipe.wav", "a named pipe"],
  ["/dev/zero", "a device"],
])("refuses %s", async (name, got) => {
  const file = name.startsWith("/") ? name : join(folder, name);
  await expect(readClip(file)).rejects.toThrow(`type: expected a file, got ${got}`);
});
