import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { cli, jsonLines } from "./helpers/cli.js";

// Plan: of damaged audio there is one object on stdout, and on stderr at most this program's own
// lines: none of a decoder's.
const directory = mkdtempSync(join(tmpdir(), "decoder-lines-"));
afterAll(() => rmSync(directory, { recursive: true }));

const names = [
  "speech.mp3",
  "mp3.mp4",
  "speech.aac",
  "speech.m4a",
  "speech.flac",
  "flac.ogg",
  "speech.opus",
  "speech.ogg",
  "speech.webm",
];
/** Changes the bytes from one share of the file to another. */
const within =
  (from: number, to: number, value: (i: number, byte: number) => number) =>
  (bytes: Buffer): void => {
    const first = Math.floor(bytes.length * from);
    for (let i = first; i < Math.floor(bytes.length * to); i++) bytes[i] = value(i, bytes[i]);
  };
const noise = (i: number): number => (i * i * 31 + i * 7) >> 3;
const damages: [string, (bytes: Buffer) => void][] = [
  ["noise", within(0.4, 0.5, noise)],
  ["a few bytes", within(0.6, 0.602, noise)],
  ["zeros", within(0.5, 0.6, () => 0)],
  ["ones", within(0.3, 0.4, () => 255)],
  ["the head", within(0.02, 0.05, noise)],
  ["all but the head", within(0.2, 1, noise)],
  ["every 97th byte", within(0, 1, (i, byte) => (i % 97 === 90 ? byte ^ 255 : byte))],
];

test.each(names)("%s", async (name) => {
  const whole = readFileSync(new URL(`fixtures/audio/${name}`, import.meta.url));
  const files = damages.map(([how, damage], i) => {
    const bytes = Buffer.from(whole);
    damage(bytes);
    const file = join(directory, `${i} ${how} ${name}`);
    writeFileSync(file, bytes);
    return file;
  });
  const cut = join(directory, `cut ${name}`);
  writeFileSync(cut, whole.subarray(0, Math.floor(whole.length * 0.6)));
  files.push(cut);
  const run = await cli(["transcribe", "--language", "en", "--max-tokens", "1", "--json", ...files]);
  expect(
    jsonLines(run)
      .map(({ file }) => file)
      .sort(),
  ).toEqual([...files].sort());
  const own = new RegExp(
    `^(Warning: maxDynamic|device: |loaded |warning: ${directory}/|error: ${directory}/|${directory}/)`,
  );
  const other = run.stderr.split("\n").filter((line) => line !== "" && !own.test(line));
  expect(other).toEqual([]);
  expect(run.stderr).toMatch(/^(warning|error): /m); // the damage was met
});
