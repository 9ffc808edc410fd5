import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { wav } from "../../test/helpers/wav.js";
import { decodeClip, readClip, streamClip } from "./clip.js";

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

// Plan: a file that is streamed gives what decodeClip reads.
it("streams a file", async () => {
  const file = join(folder, "noise.wav");
  writeFileSync(file, wav(0.5, 1));
  const keep = { rate: 16_000 };
  const { channels } = await decodeClip(file, { keep });
  const samples: number[] = [];
  await streamClip(file, keep, (block) => void samples.push(...block));
  expect(Float32Array.from(samples)).toEqual(channels[0]);
  await expect(streamClip(folder, keep, () => undefined)).rejects.toThrow("expected a file, got a directory");
});
