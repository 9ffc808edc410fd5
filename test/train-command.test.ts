import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { utteranceLine } from "../src/data/utterances.js";
import { lockFile, withRunLock } from "../src/train/run-lock.js";
import { type Run, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { type TrainingDirectory, trainingDirectory } from "./helpers/training.js";

// The command on a tiny checkpoint: trains, validates, writes checkpoint, LoRA and report; goes on
// only with --resume; refuses bad lines, wrong usage and a directory that another trains in;
// --report, --export and --plan alone.
let directory: TrainingDirectory;
let base: string[] = [];
beforeAll(async () => {
  directory = await trainingDirectory();
  const { path, data } = directory;
  const lines = data.utterances.map((utterance) => `${utteranceLine(utterance, path)}\n`);
  writeFileSync(join(path, "data.jsonl"), lines.join(""));
  writeFileSync(join(path, "bad.jsonl"), `${lines[0]}{"audio":1}\n`);
  base = ["train", "--model", join(path, "model"), "--data", join(path, "data.jsonl")];
});
afterAll(() => directory.remove());

const quick = ["--steps", "4", "--every", "2", "--batch-tokens", "400", "--lr", "1e-3"];

describe("train", () => {
  test("trains, then leaves a checkpoint that transcribes, a LoRA and a report", async () => {
    const out = join(directory.path, "out");
    const tuned = ["--tune", "adaptor,lora", "--lora-rank", "3", "--align", "2", "--align-lr", "2e-3"];
    const args = [...base, ...quick, "--out", out, ...tuned];
    const run = await cli([
      ...args,
      "--validation",
      join(directory.path, "data.jsonl"),
      "--decode",
      "2",
      "--json",
    ]);
    expect({ code: run.code, errors: errorLines(run) }).toEqual({ code: 0, errors: [] });
    const [result] = jsonLines(run);
    expect(result).toMatchObject({ step: expect.any(Number) as number, lora: join(out, "lora") });
    expect(result).not.toHaveProperty("checkpoint");
    expect(existsSync(join(out, "checkpoint"))).toBe(false); // without its LoRA it would be no model of the run
    expect(run.stderr).toMatch(
      /^step 2: alignment loss \d+\.\d+, validation loss \d\.\d+, CER \d+\.\d %, cosine/m,
    );
    expect(run.stderr).toMatch(/^step 4: training loss \d\.\d+, validation loss/m);
    const page = readFileSync(join(out, "report.html"), "utf8");
    for (const text of ["<svg ", "Loss of the alignment", "Loss (nats a token)"])
      expect(page).toContain(text);
    const clip = directory.data.utterances[0].audio;
    const beside = ["--model", join(directory.path, "model"), "--lora", join(out, "lora")];
    const merged = ["--model", join(out, "checkpoint")];
    const tokensOf = async (model: string[]): Promise<unknown> =>
      jsonLines(await cli(["transcribe", ...model, clip, "--json"]))[0].tokenIds;
    const ofLora = await tokensOf(beside);
    expect(ofLora).not.toEqual(await tokensOf(["--model", join(directory.path, "model")]));

    expect(expectRefusal(await cli(args))).toMatch(
      /expected a new directory, got a run; --resume goes on with it$/,
    );
    expect((await cli([...args, "--resume", "--lr", "2e-3"])).code).toBe(1);

    const exported = await cli([...base.slice(0, 3), "--out", out, "--export", "best", "--merge", "--json"]);
    expect(jsonLines(exported)[0]).toMatchObject({
      step: result.step,
      checkpoint: join(out, "checkpoint"),
    });
    expect(await tokensOf(merged)).toEqual(ofLora);
    const weights = (path: string): Buffer => readFileSync(join(path, "model.safetensors"));
    const converted = join(directory.path, "converted");
    expect((await cli(["convert", beside[1], converted, ...beside.slice(2)])).code).toBe(0);
    expect(weights(converted).equals(weights(join(out, "checkpoint")))).toBe(true);
    const report = await cli(["train", "--report", out]);
    expect(report.stdout).toBe(`${join(out, "report.html")}\n`);

    const again = await cli([...base.slice(0, 3), "--out", out, "--export", "best"]);
    expect(again.stderr).toContain(
      `${join(out, "checkpoint")}: it does not hold this LoRA; it is called checkpoint.earlier now`,
    );
    expect(readdirSync(out)).not.toContain("checkpoint");
    expect(existsSync(join(out, "checkpoint.earlier", "model.safetensors"))).toBe(true);
  });

  test("a LoRA without a best state: the command that is advised writes the whole checkpoint", async () => {
    const out = join(directory.path, "never-validated");
    const run = await cli([...base, "--steps", "1", "--tune", "lora", "--out", out]);
    expect(readdirSync(out)).not.toContain("best.safetensors");
    const advice = /: the LoRA of step 1; use it with .*, or write a whole checkpoint: (.*)\n/.exec(
      run.stdout,
    )![1];
    expect(advice).toBe(`train --model ${base[2]} --out ${out} --export last --merge`);
    expect((await cli(advice.split(" "))).code).toBe(0);
    expect(readdirSync(out)).toContain("checkpoint");
  });

  test("bad lines are reported and refused, or left out", async () => {
    const out = join(directory.path, "bad");
    const args = [
      "train",
      "--model",
      join(directory.path, "model"),
      "--data",
      join(directory.path, "bad.jsonl"),
    ];
    const refused = await cli([...args, "--out", out]);
    expect(refused.stderr).toMatch(/bad\.jsonl:2: audio: expected a path, got 1/);
    expect(expectRefusal(refused)).toMatch(
      /: 1 of \d+ lines is no utterance; mend it, or skip it with --skip-bad$/,
    );
    const run = await cli([...args, "--out", out, "--skip-bad", "--steps", "1"]);
    expect(run.code).toBe(0);
    expect(existsSync(join(out, "checkpoint", "model.safetensors"))).toBe(true);
  });

  test("a clip that is missing is reported as evaluate does", async () => {
    const data = join(directory.path, "missing.jsonl");
    writeFileSync(data, `{"audio":"none.wav","text":"now"}\n`);
    const args = ["--model", join(directory.path, "model"), "--data", data, "--out"];
    const run = await cli(["train", ...args, join(directory.path, "missing")]);
    const clip = join(directory.path, "none.wav");
    expect(run.stderr).toContain(
      `\n${data}:1: ${clip}: expected a file of that name, got none; check the path\n`,
    );
  });

  test("audio that is cut is reported as transcribe does, from the cache too, and refused with --strict", async () => {
    const cut = join(directory.path, "cut.wav");
    writeFileSync(cut, readFileSync(directory.data.utterances[7].audio).subarray(0, -8000));
    const data = join(directory.path, "cut.jsonl");
    writeFileSync(data, `{"audio":"cut.wav","text":"now"}\n{"audio":"cut.wav","text":"please","end":0.2}\n`);
    const model = ["--model", join(directory.path, "model")];
    const warnings = ({ stderr }: Run): string[] =>
      stderr.split("\n").filter((line) => line.startsWith("warning: "));
    const want = warnings(await cli(["transcribe", ...model, cut]));
    expect(want).toEqual([`warning: ${cut}: 0.96 s could be read of the 1.21 s in the header`]);
    const args = ["train", ...model, "--data", data, "--steps", "1", "--cache", join(directory.path, "cuts")];
    for (const out of ["cut-1", "cut-2"]) {
      const run = await cli([...args, "--out", join(directory.path, out)]);
      expect({ code: run.code, warnings: warnings(run) }).toEqual({ code: 0, warnings: want });
    }
    const strict = await cli([...args, "--out", join(directory.path, "cut-3"), "--strict"]);
    expect(strict.stderr).toContain(`${data}:1: ${cut}: audio: expected a whole file (--strict), got 0.96 s`);
    expect(expectRefusal(strict)).toContain("expected 2 lines that can be used, got 2 that cannot");
  });

  test("a directory that another process trains in is refused, and stays as it is", async () => {
    const out = join(directory.path, "busy");
    const args = [...base, ...quick, "--out", out];
    const line = await withRunLock(out, async () => {
      writeFileSync(join(out, "last.safetensors.0123456789ab.part"), "being written");
      const lines = [await cli(args), await cli([...args, "--resume"])].map(expectRefusal);
      expect(lines[1]).toBe(lines[0]);
      return lines[0];
    });
    const other = `process ${process.pid}`;
    expect(line).toBe(
      `error: ${out}: expected no other training in this directory, got that of ${other}; wait for its end or stop it, or name another --out; if ${other} is no training, remove ${lockFile(out)}`,
    );
    expect(readdirSync(out)).toEqual(["last.safetensors.0123456789ab.part"]);
  });

  test("wrong usage", async () => {
    expect(await cli(["train", "--model", "x", "--data", "y"])).toMatchObject({ code: 2, stdout: "" });
    for (const option of [
      ["--tune", "llm"],
      ["--steps", "many"],
      ["--schedule", "linear"],
      ["--steps", "2", "--epochs", "1"],
      ["--lr", "-1"],
      ["--lora-rank", "8"], // no LoRA is trained
      ["--lora-dropout", "1", "--tune", "lora"],
      ["--align", "99", "--steps", "2"],
      ["--export", "best"], // takes no --data
      ["--resume", "--plan"],
    ]) {
      const { code, stdout, stderr } = await cli([...base, "--out", "z", ...option]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toMatch(new RegExp(`^error: .*${option[0]}`, "m"));
    }
    expectRefusal(await cli(["train", "--report", join(directory.path, "none")]));
  });

  test("--plan counts for a checkpoint, and for each size", async () => {
    const one = jsonLines(await cli(["train", "--plan", "--json", "--model", join(directory.path, "model")]));
    expect(one).toHaveLength(1);
    expect(one[0]).not.toHaveProperty("alignment");
    const all = jsonLines(await cli(["train", "--plan", "--json", "--weights", "q4", "--align", "500"]));
    for (const { seconds, alignment } of all as Record<string, { first: number; later: number }[]>[])
      for (const [i, { later }] of alignment.entries()) expect(later).toBeLessThan(seconds[i].later);
    expect(all.map(({ llm }) => llm)).toEqual(["Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B", "Qwen3-8B"]);
    const table = await cli(["train", "--plan"]);
    for (const text of ["Qwen3-8B", "RTX 4090", "frozen weights", "time of an hour of audio"])
      expect(table.stdout).toContain(text);
  });
});
