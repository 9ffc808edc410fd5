import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { utteranceLine } from "../src/data/utterances.js";
import { type Run, cli, errorLines } from "./helpers/cli.js";
import { llmFiles } from "./helpers/tiny-llm.js";
import { writeDirectory } from "./helpers/tiny-model.js";
import { type TrainingDirectory, trainingDirectory } from "./helpers/training.js";

// Every command that writes, where the system refuses: one line, which names the output and speaks
// of writing, and nothing unfinished is left. A preloaded module makes the system refuse; files and
// directories in the way are real. Then each file of a run, and the records of an evaluation, which
// are no faults of a clip.
let directory: TrainingDirectory;
let llm: ReturnType<typeof writeDirectory>;
const at = (...names: string[]): string => join(directory.path, ...names);
beforeAll(async () => {
  directory = await trainingDirectory();
  llm = writeDirectory(await llmFiles());
  const lines = directory.data.utterances.map((utterance) => `${utteranceLine(utterance, directory.path)}\n`);
  writeFileSync(at("data.jsonl"), lines.join(""));
  writeFileSync(at("refusing.mjs"), refusing);
  writeFileSync(at("file"), "");
});
afterAll(() => [directory, llm].forEach((made) => made.remove()));

/**
 * Calls that write to a path that matches REFUSED fail as REFUSAL; of opened files, their writes
 * where REFUSE_AT is "write".
 */
const refusing = `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const { REFUSED, REFUSAL: code, REFUSE_AT } = process.env;
const matches = (path) => new RegExp(REFUSED).test(String(path));
const refuse = (syscall, path) => {
  throw Object.assign(new Error(code + ": refused, " + syscall), { code, syscall, path });
};
const guard = (object, names, asynchronous) => {
  for (const name of names) {
    const real = object[name];
    const guarded = (...args) => (args.slice(0, 2).some(matches) ? refuse(name, args[0]) : real(...args));
    object[name] = asynchronous ? async (...args) => guarded(...args) : guarded;
  }
};
const { open } = fs.promises;
fs.promises.open = async (path, flags = "r", ...rest) => {
  const writes = flags !== "r" && matches(path);
  if (writes && REFUSE_AT === "open") refuse("open", path);
  const handle = await open(path, flags, ...rest);
  if (writes) for (const name of ["write", "appendFile", "writeFile"]) handle[name] = async () => refuse("write");
  return handle;
};
guard(fs, ["appendFileSync", "writeFileSync"], false);
if (REFUSE_AT === "open") guard(fs.promises, ["mkdir", "rename", "link", "symlink"], true);
syncBuiltinESMExports();
`;

let runs = 0;

/** A command that writes `out`, a directory or a file. */
const commands: Readonly<Record<string, (out: string) => string[]>> = {
  convert: (out) => ["convert", at("model"), out],
  migrate: (out) => ["migrate", "--encoder", at("model"), "--llm", llm.path, "--out", out],
  evaluate: (out) => ["evaluate", ...tiny(), "--second", "0", "--max-tokens", "2", "--out", out],
  train: (out) => ["train", ...tiny(), "--steps", "1", "--batch-tokens", "400", "--out", out],
  "train --cache": (out) => [...commands.train(at(`cached-${runs++}`)), "--cache", out],
  data: (out) => ["data", "jsonl", at("data.jsonl"), "--out", out],
  "profile --trace": (out) => ["profile", at("0.wav"), "--model", at("model"), "--trace", out],
  "profile --html": (out) => ["profile", at("0.wav"), "--model", at("model"), "--html", out],
};
const files = ["data", "profile --trace", "profile --html"];
const tiny = (): string[] => ["--model", at("model"), "--data", at("data.jsonl")];

interface Refusal {
  /** A regular expression. */
  readonly of: string;
  readonly code: string;
  readonly when: "open" | "write";
}

function refused(args: readonly string[], { of, code, when }: Refusal): Promise<Run> {
  const load = `--import=${at("refusing.mjs")}`;
  return cli(args, { NODE_OPTIONS: load, REFUSED: of, REFUSAL: code, REFUSE_AT: when });
}

/** The one line of a run that could not write something in `place`. */
function expectWriteError(run: Run, place: string, words: string): void {
  const lines = errorLines(run);
  expect({ code: run.code, lines: lines.length, stdout: run.stdout }).toMatchObject({ code: 1, lines: 1 });
  expect(lines[0]).toMatch(/^error: \S+: .*write|^error: \S+: expected a cache that can be written/);
  expect(lines[0].slice("error: ".length)).toMatch(new RegExp(`^${place}[/:]`));
  expect(lines[0]).toContain(words);
  expect(lines[0]).not.toContain(".part");
  expect(run.stderr).not.toMatch(/^\s+at .*\.js:/m);
}

const unfinished = (): string[] =>
  readdirSync(directory.path, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".part"));

const full = ["ENOSPC", "write", "expected room for it, got a full disk"] as const;
const forbidden = ["EACCES", "open", "expected permission to write there, got none"] as const;
const readOnly = ["EROFS", "open", "expected a place that can be written, got a read-only disk"] as const;
const names = Object.keys(commands);
const cases = [
  ...names.map((name) => [name, ...full] as const),
  ...names.filter((name) => !name.startsWith("profile")).map((name) => [name, ...forbidden] as const),
  ["data", ...readOnly] as const,
  ["convert", ...readOnly] as const,
  ["evaluate", ...readOnly] as const,
];

test.each(cases)("%s: %s at %s", async (name, code, when, words) => {
  const out = at(`${name.replaceAll(/\W+/g, "-")}-${code}`);
  expectWriteError(await refused(commands[name](out), { of: `^${out}`, code, when }), out, words);
  expect(unfinished()).toEqual([]);
});

test.each(names.filter((name) => name !== "profile --html"))("%s: a file on the way", async (name) => {
  const out = at("file", "out");
  const words = "expected a directory to write it in, got a file";
  expectWriteError(await cli(commands[name](out)), out, words);
});

test.each([...files, "train --export"])(
  "%s: a directory that is not there, named before the work",
  async (name) => {
    const out = at("nowhere", "out");
    const args =
      name === "train --export"
        ? ["train", "--export", "best", "--model", at("model"), "--out", out]
        : commands[name](out);
    const run = await cli(args);
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 1, stdout: "" });
    expect(errorLines(run)).toEqual([expect.stringMatching(/nowhere/)]);
    expect(run.stderr).not.toContain("device:");
    expect(readdirSync(directory.path)).not.toContain("nowhere");
  },
);

test.each(files)("%s: a directory where a file is to be", async (name) => {
  const words = "expected a name for a file, got a directory's";
  expectWriteError(await cli(commands[name](at("model"))), at("model"), words);
  expect(unfinished()).toEqual([]);
});

test.each(names.filter((name) => !files.includes(name)))(
  "%s: a file where a directory is to be",
  async (name) => {
    const run = await cli(commands[name](at("file")));
    const line: unknown = expect.stringMatching(/file(\/\S+)?: .*expected .*directory.*, got a file/);
    expect({ code: run.code, errors: errorLines(run) }).toEqual({ code: 1, errors: [line] });
  },
);

test.each([
  "run.lock",
  "cache/.*",
  "metrics.jsonl",
  "best.safetensors",
  "last.safetensors",
  "checkpoint.*/config.json",
  "checkpoint.*/model.safetensors",
  "report.html",
])("train: a full disk at %s", async (file) => {
  const out = at(`full-${file.replaceAll(/\W+/g, "-")}`);
  const args = [...commands.train(out), "--validation", at("data.jsonl"), "--decode", "0"];
  const run = await refused(args, { of: `^${out}/${file}`, code: "ENOSPC", when: "write" });
  expectWriteError(run, `${out}/${file.replace("checkpoint.*", "checkpoint")}`, "got a full disk");
  expect(unfinished()).toEqual([]);
});
test.each(["run.json", "utterances-stored.jsonl", "report.json", "report.html"])(
  "evaluate: a full disk at %s is no fault of a clip, and the next run goes on",
  async (file) => {
    const out = at(`results-${file}`);
    const args = commands.evaluate(out);
    const run = await refused(args, { of: `${out}/${file}`, code: "ENOSPC", when: "write" });
    expectWriteError(run, `${out}/${file}`, "got a full disk");
    expect(run.stderr).not.toContain(".wav");
    expect(unfinished()).toEqual([]);
    expect(await cli(args)).toMatchObject({ code: 0 });
    const records = readFileSync(`${out}/utterances-stored.jsonl`, "utf8").trim().split("\n");
    expect(records.map((line) => (JSON.parse(line) as { line: number }).line)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8,
    ]);
  },
);
