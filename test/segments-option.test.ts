import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { wavBytes } from "../src/frontend/write-wav.js";
import { binary, cli, errorLines, jsonLines } from "./helpers/cli.js";
import { clipSamples, stereoWav, talk } from "./helpers/talk.js";

// Plan: what is wrong with --segments or --vad is one line that names the file, exit 2, before
// anything is loaded; a segment past the end is refused by the header's length; of several clips
// those without segments are refused and the others done; marks of UTF-8 and UTF-16 are read.

const root = mkdtempSync(join(tmpdir(), "segments-"));
const at = (name: string): string => join(root, name);
const rttm = (name: string, ...times: string[]): string =>
  times.map((time) => `SPEAKER ${name} 1 ${time} <NA> <NA> a <NA> <NA>\n`).join("");

beforeAll(() => {
  writeFileSync(at("talk.wav"), wavBytes(talk(2), 16_000));
  writeFileSync(at("other.wav"), wavBytes(talk(1), 16_000));
});
afterAll(() => rmSync(root, { recursive: true }));

describe("--segments", () => {
  test.each<[string, (path: string) => void, RegExp]>([
    ["no file", () => undefined, /expected a file of that name, got none; check the path/],
    ["a directory", (path) => mkdirSync(path), /type: expected a file, got a directory; name a file/],
    [
      "a named pipe",
      (path) => execFileSync("mkfifo", [path]),
      /type: expected a file, got a named pipe; name a file/,
    ],
    [
      "a file of 17 MB",
      (path) => {
        writeFileSync(path, "");
        truncateSync(path, 17 << 20);
      },
      /size: expected at most 16777216 bytes, got 17825792; leave out what is not needed, or split it/,
    ],
    ["bytes of a sound", (path) => writeFileSync(path, wavBytes(talk(1), 16_000)), /text: expected UTF-8/],
    ["an empty file", (path) => writeFileSync(path, ""), /segments: expected segments of talk, got none/],
    ["a line of another kind", (path) => writeFileSync(path, "talk 0 1\n"), /:1: line: expected SPEAKER/],
    [
      "an overlap",
      (path) => writeFileSync(path, rttm("talk", "0 2", "1 2")),
      /:2: start: expected a begin from 2 s on, .*; let one end where the other begins/,
    ],
    [
      "another recording's segments",
      (path) => writeFileSync(path, rttm("elsewhere", "0 2")),
      /segments: expected segments of talk, got those of "elsewhere"/,
    ],
  ])("%s is refused before anything is loaded", async (name, make, message) => {
    const path = at(`${name}.rttm`);
    make(path);
    const out = at(`${name}-out`);
    const run = await cli(["transcribe", "--segments", path, "--output-dir", out, at("talk.wav")]);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(errorLines(run)).toEqual([expect.stringMatching(message)]);
    expect(errorLines(run)[0].startsWith(`error: ${path}`)).toBe(true);
    expect(run.stderr).not.toContain("device:");
  });

  test("a device without an end is refused", async () => {
    const run = await cli(["transcribe", "--segments", "/dev/zero", at("talk.wav")]);
    expect(run.code).toBe(2);
    expect(errorLines(run)).toEqual(["error: /dev/zero: type: expected a file, got a device; name a file"]);
  });

  test("a segment past the length of the header is refused before any is transcribed", async () => {
    writeFileSync(at("late.rttm"), rttm("talk", "0.5 2", "90 2"));
    const run = await cli(["transcribe", "--batch", "1", "--segments", at("late.rttm"), at("talk.wav")]);
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(errorLines(run)).toEqual([
      expect.stringMatching(/late\.rttm:2: end: expected at most the audio's \d+\.\d+ s, got 92; remove/),
    ]);
  });

  test("a clip without segments is refused, and the other is done", async () => {
    writeFileSync(at("one.rttm"), `\ufeff${rttm("talk", "0 2.6")}`, "utf16le");
    const run = await cli([
      "transcribe",
      "--json",
      "--segments",
      at("one.rttm"),
      at("other.wav"),
      at("talk.wav"),
    ]);
    expect(run.code).toBe(1);
    expect(jsonLines(run)).toMatchObject([
      { file: at("other.wav"), error: { got: 'those of "talk"' } },
      {
        file: at("talk.wav"),
        text: "set the oven to eighty two degrees",
        segments: [{ start: 0, end: 2.6 }],
      },
    ]);
  });

  test("--channel each gives each channel its own segments", async () => {
    const [left, right] = [new Float32Array(96_000), new Float32Array(96_000)];
    left.set(clipSamples("en-seen-1.wav"));
    right.set(clipSamples("zh-seen-1.wav"), 16_000);
    writeFileSync(at("both.wav"), stereoWav(left, right));
    writeFileSync(at("both.rttm"), rttm("both", "0 2.6") + rttm("both", "1 4.5").replace(" 1 1 ", " 2 1 "));
    const args = ["transcribe", "--json", "--segments", at("both.rttm"), at("both.wav")];
    const run = await cli([...args, "--channel", "each"]);
    expect(run.code).toBe(0);
    expect(jsonLines(run)).toMatchObject([
      { channel: 1, segments: [{ start: 0, end: 2.6 }] },
      { channel: 2, segments: [{ start: 1, end: 5.5 }] },
    ]);
    const third = await cli([...args, "--channel", "3"]);
    expect(third.code).toBe(2);
    expect(errorLines(third)).toEqual([
      `error: ${at("both.rttm")}: segments: expected segments of channel 3 of both, got those of channel 1, 2; ask for a channel that the file has`,
    ]);
  });

  test("a pipe of the shell is read", () => {
    writeFileSync(at("piped.rttm"), rttm("talk", "0 2.6"));
    const line = '"$0" "$1" transcribe --segments <(cat "$2") "$3" 2>&1';
    const args = ["-c", line, process.execPath, binary, at("piped.rttm"), at("talk.wav")];
    expect(execFileSync("bash", args, { encoding: "utf8" })).toContain(
      "set the oven to eighty two degrees\n",
    );
  });
});

test.each([
  ["no model", "none", /expected a model directory or a hub name/],
  ["a file that is none", "talk.wav", /expected/],
  ["a directory without weights", "empty", /expected/],
])("--vad of %s is refused before anything is loaded", async (_, name, message) => {
  if (name === "empty") mkdirSync(at(name), { recursive: true });
  for (const command of ["transcribe", "vad"]) {
    const run = await cli([command, "--vad", at(name), at("talk.wav")]);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(errorLines(run)).toEqual([expect.stringMatching(message)]);
    expect(errorLines(run)[0]).not.toContain("talk.wav: ".concat(at(name)));
    expect(run.stderr).not.toContain("device:");
  }
});

test.each<[string, readonly string[], RegExp]>([
  ["vad", ["--json", "--format", "rttm"], /'--format' has an effect only with lines of text, not --json/],
  ["transcribe", ["--segments", "x", "--max-end-silence", "500"], /'--max-end-silence' .*, not --segments/],
  ["transcribe", ["--segments", "x", "--merge-seconds", "5"], /'--merge-seconds' .*, not --segments/],
  ["transcribe", ["--segments", "x", "--vad", "off"], /'--vad' .*, not --segments/],
  ["transcribe", ["--vad", "off", "--batch-tokens", "50"], /'--batch-tokens' .*, not --vad off/],
  [
    "translate",
    ["--to", "en", "--vad", "off", "--merge-seconds", "5"],
    /'--merge-seconds' .*, not --vad off/,
  ],
])("%s %s: an option without an effect is refused", async (command, options, message) => {
  const run = await cli([command, ...options, at("talk.wav")]);
  expect(run).toMatchObject({ code: 2, stdout: "" });
  expect(errorLines(run)).toEqual([expect.stringMatching(message)]);
});

// Plan: a context that leaves no room for speech is one line, where a clip cannot be whole; nothing
// hangs, no text is dropped, and no file is left.
test.each([1990, 3000])(
  "a context of %i words is refused for a clip that does not fit beside it",
  async (count) => {
    const out = at(`context-${count}`);
    const context = "lamp ".repeat(count);
    const run = await cli(["transcribe", "--context", context, "--output-dir", out, at("talk.wav")]);
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(errorLines(run)).toEqual([
      expect.stringMatching(/talk\.wav: .*expected .*; shorten the context or the hotwords$/),
    ]);
    expect(readdirSync(out)).toEqual([]);
  },
);
