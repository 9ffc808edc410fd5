import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { findRecorder } from "./recorder.js";

// Plan: which recorder is called how on each platform; test/listen.test.ts runs recorders.
const root = mkdtempSync(join(tmpdir(), "recorder-"));
afterAll(() => rmSync(root, { recursive: true }));
for (const name of ["arecord", "ffmpeg", "ffmpeg.exe"]) writeFileSync(join(root, name), "", { mode: 0o755 });

test.each<[NodeJS.Platform, string | undefined, string]>([
  ["linux", undefined, "arecord -q -t raw -f S16_LE -r 16000 -c 1"],
  ["linux", "hw:1,0", "arecord -q -t raw -f S16_LE -r 16000 -c 1 -D hw:1,0"],
  ["darwin", undefined, "-f avfoundation -i :default -ac 1 -ar 16000 -f s16le -"],
  ["darwin", "2", "-f avfoundation -i :2 -ac"],
  ["win32", "Microphone (USB)", "-f dshow -i audio=Microphone (USB) -ac"],
])("%s, device %s", async (platform, device, call) => {
  const { name, args, program } = await findRecorder(device, platform, root);
  expect([name, ...args].join(" ")).toContain(call);
  expect(program).toBe(join(root, platform === "win32" ? `${name}.exe` : name));
});

test.each<[NodeJS.Platform, string, RegExp]>([
  [
    "linux",
    "/none",
    /expected arecord or ffmpeg in PATH, got neither; install alsa-utils \(arecord\) or ffmpeg/,
  ],
  ["darwin", "", /expected ffmpeg in PATH, got none; install ffmpeg/],
  ["win32", root, /--device: expected the name of a device, got none/],
])("%s without one in %j", async (platform, path, message) => {
  await expect(findRecorder(undefined, platform, path)).rejects.toThrow(message);
});
