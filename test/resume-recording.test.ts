import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { wavBytes } from "../src/frontend/write-wav.js";
import { binary, cli } from "./helpers/cli.js";
import { talk } from "./helpers/talk.js";

// Plan: a run of one long recording that is killed or interrupted keeps the segments that it has
// done; --resume goes on behind them, and the files are those of a run to the end; what other options
// have left is not used.

const root = mkdtempSync(join(tmpdir(), "resume-"));
const at = (...names: string[]): string => join(root, ...names);
const recording = at("talk.wav");
const sentences = 12; // 70 s
const command = (dir: string, ...more: string[]): string[] => [
  "transcribe",
  "--batch",
  "1",
  "--output-dir",
  at(dir),
  ...more,
  recording,
];
const partial = (dir: string): string => at(dir, "talk.jsonl.part");
const lines = (path: string): string[] =>
  existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];

/** The files of a directory; without the seconds of the work. */
function outputs(dir: string): Record<string, string> {
  const read = (name: string): string =>
    readFileSync(at(dir, name), "utf8").replace(/"seconds": \{[^}]*\}/, '"seconds": {}');
  return Object.fromEntries(readdirSync(at(dir)).map((name) => [name, read(name)]));
}

/** Starts a run and sends it a signal once it has done so many segments. */
async function interrupted(
  dir: string,
  signal: NodeJS.Signals,
  segments: number,
): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [binary, ...command(dir)], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const timer = setInterval(() => {
    if (lines(partial(dir)).length > segments) child.kill(signal);
  }, 5);
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  clearInterval(timer);
  return { code, stderr };
}

beforeAll(async () => {
  writeFileSync(recording, wavBytes(talk(sentences), 16_000));
  const run = await cli(command("whole"));
  expect(run.code).toBe(0);
  expect(existsSync(partial("whole"))).toBe(false);
});
afterAll(() => rmSync(root, { recursive: true }));

test.each([
  ["SIGKILL", null],
  ["SIGINT", 130],
] as const)("%s keeps what is done, and --resume goes on", async (signal, code) => {
  const run = await interrupted(signal, signal, 3);
  expect(run.code).toBe(code);
  const hint = `what is done stays in ${at(signal)}; the same command with --resume goes on`;
  expect(run.stderr.includes(hint)).toBe(signal !== "SIGKILL");
  expect(readdirSync(at(signal))).toEqual(["talk.jsonl.part"]);
  const done = lines(partial(signal)).length - 1;
  expect(done).toBeGreaterThanOrEqual(3);
  expect(done).toBeLessThan(sentences);
  const resumed = await cli(command(signal, "--resume", "--batch-tokens", "300"));
  expect(resumed).toMatchObject({ code: 0 });
  expect(resumed.stderr).toContain(`${recording}: ${done} segments are done`);
  expect(outputs(signal)).toEqual(outputs("whole"));
  const again = await cli(command(signal, "--resume"));
  expect(again).toMatchObject({ code: 0, stdout: "" });
  expect(again.stderr).toContain("1 of 1 clips are done");
});

test("what other options have left is not used, nor is anything without --resume", async () => {
  await interrupted("other", "SIGKILL", 2);
  const left = readFileSync(partial("other"));
  for (const more of [["--resume", "--merge-seconds", "1"], []]) {
    writeFileSync(partial("other"), left);
    const run = await cli(command("other", ...more));
    expect(run.code).toBe(0);
    expect(run.stderr).not.toContain("are done");
    expect(outputs("other")["talk.txt"]).toEqual(outputs("whole")["talk.txt"]);
  }
});

test("the hint of --resume is given only where something is done", async () => {
  const { stderr } = await interrupted("early", "SIGINT", 0);
  expect(stderr.includes("what is done stays")).toBe(lines(partial("early")).length > 1);
});
