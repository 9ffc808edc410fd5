import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { utteranceLine } from "../src/data/utterances.js";
import { lockFile } from "../src/train/run-lock.js";
import { binary, cli, expectRefusal } from "./helpers/cli.js";
import { type TrainingDirectory, trainingDirectory } from "./helpers/training.js";

// A training that a signal ends behind a step saves its state: resumed, it gives the bits of a run
// that was not stopped. A run that is not there is not resumed.
const steps = "20"; // each is validated and saved: what is left after the first one outlasts the way of the signal
let directory: TrainingDirectory;
let base: string[];
beforeAll(async () => {
  directory = await trainingDirectory();
  const { path, data } = directory;
  const lines = data.utterances.map((utterance) => `${utteranceLine(utterance, path)}\n`);
  writeFileSync(join(path, "data.jsonl"), lines.join(""));
  base = ["train", "--model", join(path, "model"), "--data", join(path, "data.jsonl"), "--lr", "1e-3"];
  base.push("--steps", steps, "--every", "1", "--batch-tokens", "400");
});
afterAll(() => directory.remove());

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s: exit %d, and the same bits when it goes on", async (signal, code) => {
  const out = (name: string): string => join(directory.path, `${signal}-${name}`);
  const child = spawn(process.execPath, [binary, ...base, "--out", out("cut")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = new Promise((resolve) => child.on("close", resolve));
  const metrics = join(out("cut"), "metrics.jsonl");
  const stop = (): void => {
    if (!stderr.includes("\nstep 1:")) return;
    child.stderr.off("data", stop); // a second signal would end the run at once
    child.kill(signal);
  };
  child.stderr.on("data", stop);
  expect(await ended).toBe(code);
  expect(stderr).toContain(`${out("cut")}: the state is saved; the same command with --resume goes on`);
  expect(existsSync(lockFile(out("cut")))).toBe(false);
  expect(readFileSync(metrics, "utf8").trim().split("\n").length).toBeLessThan(2 * Number(steps));

  expect(await cli([...base, "--resume", "--out", out("cut")])).toMatchObject({ code: 0 });
  expect(await cli([...base, "--out", out("whole")])).toMatchObject({ code: 0 });
  const [cut, whole] = ["cut", "whole"].map((name) => readFileSync(join(out(name), "last.safetensors")));
  expect(cut.equals(whole)).toBe(true);
});

test("a signal before the first step is reported", async () => {
  const child = spawn(process.execPath, [binary, ...base, "--out", join(directory.path, "early")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  const stop = (text: string): void => {
    if (stderr === "") child.kill("SIGINT"); // the device's line comes before the model is loaded
    stderr += text;
  };
  child.stderr.setEncoding("utf8").on("data", stop);
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(130);
  expect(stderr).toContain("stopped before the first step; the same command begins again\n");
});

test.each([
  ["near a run", "warm-upp", "is DIR/warm-up meant? else "],
  ["near a directory that holds no run", "modell", ""],
  ["of few letters", "x", ""],
])("--resume where no run is, under a name %s: refused", async (_, name, meant) => {
  for (const run of ["warm-up", "y"]) {
    mkdirSync(join(directory.path, run), { recursive: true });
    writeFileSync(join(directory.path, run, "metrics.jsonl"), "");
  }
  const out = join(directory.path, name);
  const advice = `${meant.replace("DIR", directory.path)}check the path, or leave --resume out`;
  expect(expectRefusal(await cli([...base, "--resume", "--out", out]))).toBe(
    `error: ${out}: expected the directory of a run, got none; ${advice}`,
  );
  expect(existsSync(out)).toBe(false);
});
