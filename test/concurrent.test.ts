import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { utteranceLine } from "../src/data/utterances.js";
import { binary, cli, errorLines, expectRefusal } from "./helpers/cli.js";
import { llmFiles } from "./helpers/tiny-llm.js";
import { writeDirectory } from "./helpers/tiny-model.js";
import { type TrainingDirectory, trainingDirectory } from "./helpers/training.js";

// Two commands that write one place at once: one does all of it, the other ends with one sentence.
// A preloaded module holds the first at a write until the second has ended, so no clock decides.
// Then a second Ctrl-C, which ends a training at once.
let directory: TrainingDirectory;
let llm: ReturnType<typeof writeDirectory>;
const at = (name: string): string => join(directory.path, name);

/**
 * Stops the process at its first write to a path that matches HOLD, until a line comes on stdin.
 */
const holding = `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const { open } = fs.promises;
let held = false;
fs.promises.open = async (path, ...rest) => {
  if (!held && new RegExp(process.env.HOLD).test(String(path))) {
    held = true;
    process.stderr.write("held\\n");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    process.stdin.destroy();
  }
  return open(path, ...rest);
};
syncBuiltinESMExports();
`;

beforeAll(async () => {
  directory = await trainingDirectory();
  llm = writeDirectory(await llmFiles());
  const lines = directory.data.utterances.map((utterance) => `${utteranceLine(utterance, directory.path)}\n`);
  writeFileSync(at("data.jsonl"), lines.join(""));
  writeFileSync(at("holding.mjs"), holding);
});
afterAll(() => [directory, llm].forEach((made) => made.remove()));

interface Held {
  readonly child: ChildProcess;
  /** Its exit code. */
  readonly ended: Promise<unknown>;
  readonly stderr: () => string;
}

/** Starts a command, and waits until it is held at a write to `where`. */
async function hold(args: readonly string[], where: string): Promise<Held> {
  const env = { ...process.env, NODE_OPTIONS: `--import=${at("holding.mjs")}`, HOLD: where };
  const child = spawn(process.execPath, [binary, ...args], { env, stdio: ["pipe", "ignore", "pipe"] });
  const ended = once(child, "close").then(([code]) => code as unknown);
  let text = "";
  const held = new Promise<void>((resolve) => {
    child.stderr.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      if (text.includes("held\n")) resolve();
    });
  });
  await Promise.race([held, ended]);
  return { child, ended, stderr: () => text };
}

const tiny = (): string[] => ["--model", at("model"), "--data", at("data.jsonl")];

test("evaluate: the second run on one --out is refused by name, and each utterance is there once", async () => {
  const out = at("results");
  const args = ["evaluate", ...tiny(), "--second", "0", "--max-tokens", "2", "--out", out];
  const first = await hold(args, "run\\.json");
  const line = expectRefusal(await cli(args));
  expect(line).toBe(
    `error: ${out}: expected no other evaluation in this directory, got that of process ${first.child.pid}; wait for its end or stop it, or name another --out; if process ${first.child.pid} is no evaluation, remove ${join(out, "run.lock")}`,
  );
  first.child.stdin!.end("\n");
  expect(await first.ended).toBe(0);
  const records = readFileSync(join(out, "utterances-stored.jsonl"), "utf8").trim().split("\n");
  expect(records.map((text) => (JSON.parse(text) as { line: number }).line)).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8,
  ]);
  expect(existsSync(join(out, "run.lock"))).toBe(false);
});

test("migrate: the second to be done is refused in a sentence, and the first's checkpoint stays", async () => {
  const out = at("migrated");
  const args = ["migrate", "--encoder", at("model"), "--llm", llm.path, "--out", out];
  const first = await hold([...args, "--seed", "1"], "migrated.*config\\.json");
  expect(await cli([...args, "--seed", "2"])).toMatchObject({ code: 0 });
  const files = readdirSync(out);
  first.child.stdin!.end("\n");
  expect(await first.ended).toBe(1);
  const [line, ...others] = errorLines({ code: 1, signal: null, stdout: "", stderr: first.stderr() });
  expect(others).toEqual([]);
  expect(line).toBe(
    `error: ${out}: directory: expected a new or an empty directory, got one that holds ${files.length} files; name another, or remove it first`,
  );
  expect(readdirSync(out)).toEqual(files);
  expect(readdirSync(directory.path).filter((name) => name.endsWith(".part"))).toEqual([]);
});

test("a second SIGINT ends a training at once, without its lock and without what it was writing", async () => {
  const out = at("run");
  const args = ["train", ...tiny(), "--steps", "2", "--every", "100", "--batch-tokens", "400", "--out", out];
  const first = await hold(args, "last\\.safetensors");
  first.child.kill("SIGINT"); // it is held while it saves the state of the last step
  while (!first.stderr().includes("the same signal again"))
    await Promise.race([once(first.child.stderr!, "data"), first.ended]);
  first.child.kill("SIGINT");
  expect(await first.ended).toBe(130);
  expect(readdirSync(out).filter((name) => name.endsWith(".part") || name === "run.lock")).toEqual([]);
  expect(existsSync(join(out, "last.safetensors"))).toBe(false);
});
