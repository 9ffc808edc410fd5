import {
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cli, expectRefusal, jsonLines } from "./helpers/cli.js";
import { wav } from "./helpers/wav.js";

// Plan: the command writes JSONL that it reads back, counts utterances and hours, reports every
// line that it leaves out, and leaves no half file; an LLM's answers take the transcripts' place.

const root = mkdtempSync(join(tmpdir(), "funasr-data-"));
const at = (...names: string[]): string => join(root, ...names);
const llm = fileURLToPath(new URL("../experiments/migration/text-llm", import.meta.url));
afterAll(() => rmSync(root, { recursive: true }));

beforeAll(() => {
  mkdirSync(at("corpus"));
  for (const [name, seconds] of [
    ["a", 0.5],
    ["b", 1.5],
  ] as const)
    writeFileSync(at("corpus", `${name}.wav`), wav(seconds, 1));
  symlinkSync(at("corpus"), at("other"));
  linkSync(at("corpus", "a.wav"), at("hard.wav"));
  writeFileSync(at("corpus", "c.wav"), "no header");
  writeFileSync(at("corpus", "wav.scp"), "u1 a.wav\nu2 b.wav\nu3 c.wav\nu4 d.wav\n");
  writeFileSync(at("corpus", "text"), "u1 打开 台灯\nu2 two\nu3 three\nu4 four\nu5 five\n");
});

describe("data", () => {
  test("STM with --audio: a line for each recording, with its segments; a bad recording is reported", async () => {
    writeFileSync(
      at("x.stm"),
      "a 1 s 0 0.3 打开 灯\na 1 s 0.3 0.5 ignore_time_segment_in_scoring\nb 1 s 2 1 x\n",
    );
    const run = await cli(["data", "stm", at("x.stm"), "--audio", at("corpus"), "--out", at("stm.jsonl")]);
    expect(run).toMatchObject({ code: 0, stdout: `${at("stm.jsonl")}: 1 utterances, 0.00 h; 1 skipped\n` });
    expect(run.stderr).toContain(
      `skipped: ${at("x.stm")}:3: end: expected more than the start, 2, got 1; correct the times, or remove the line\n`,
    );
    expect(readFileSync(at("stm.jsonl"), "utf8")).toBe(
      '{"audio":"corpus/a.wav","channel":1,"text":"打开灯","segments":[{"start":0,"end":0.3,"text":"打开灯"}],"ignore":[{"start":0.3,"end":0.5}]}\n',
    );
    const again = await cli(["data", "jsonl", at("stm.jsonl"), "--out", at("again.jsonl")]);
    expect(again.code).toBe(0);
    expect(readFileSync(at("again.jsonl"), "utf8")).toBe(readFileSync(at("stm.jsonl"), "utf8"));
    const idle = await cli(["data", "kaldi", at("corpus"), "--audio", at("corpus"), "--out", at("k.jsonl")]);
    expect(idle).toMatchObject({ code: 2, stdout: "" });
    expect(idle.stderr).toContain("'--audio' has an effect only with covost2 or stm");
  });

  test("a corpus: lines relative to the file, counts, hours, and what was skipped", async () => {
    const out = at("out.jsonl");
    const run = await cli(["data", "kaldi", at("corpus"), "--out", out, "--prompt", "语音转写："]);
    expect(run.code).toBe(0);
    expect(run.stdout).toBe(`${out}: 3 utterances, 0.00 h and 1 of unknown length; 2 skipped\n`);
    expect(run.stderr.split("\n").filter((line) => line.startsWith("skipped"))).toEqual([
      `skipped: ${at("corpus", "text")}:4: no such file: ${at("corpus", "d.wav")}`,
      `skipped: ${at("corpus", "text")}:5: no u5 in ${at("corpus", "wav.scp")}`,
    ]);
    expect(readFileSync(out, "utf8").split("\n")).toEqual([
      '{"audio":"corpus/a.wav","prompt":"语音转写：","text":"打开台灯"}',
      '{"audio":"corpus/b.wav","prompt":"语音转写：","text":"two"}',
      '{"audio":"corpus/c.wav","prompt":"语音转写：","text":"three"}',
      "",
    ]);
    const again = await cli([
      "data",
      "jsonl",
      out,
      "--out",
      at("corpus", "again.jsonl"),
      "--limit",
      "2",
      "--json",
    ]);
    expect(jsonLines(again)).toEqual([
      {
        out: at("corpus", "again.jsonl"),
        utterances: 2,
        seconds: 2,
        unknown: 0,
        skipped: 0,
        hours: 2 / 3600,
      },
    ]);
    expect(readFileSync(at("corpus", "again.jsonl"), "utf8")).toContain('{"audio":"a.wav",');
  });

  test("a bad line is an error that leaves no file, or is reported and left out", async () => {
    const [bad, out] = [at("bad.jsonl"), at("none.jsonl")];
    writeFileSync(bad, '{"audio":"corpus/a.wav","text":"a"}\n{"audio":1}\n');
    const line = expectRefusal(await cli(["data", "jsonl", bad, "--out", out]));
    expect(line).toBe(
      `error: ${bad}:2: audio: expected a path, got 1; mend the line, or leave it out (data and train: --skip-bad)`,
    );
    expect(existsSync(out)).toBe(false);
    const run = await cli(["data", "jsonl", bad, "--out", out, "--skip-bad"]);
    expect(run.code).toBe(0);
    expect(run.stdout).toContain("1 utterances, 0.00 h; 1 skipped");
    expect(run.stderr).toContain(`skipped: bad line: ${bad}:2: audio: expected a path, got 1`);
  });

  test("a line of JSONL whose audio is not there is reported and left out", async () => {
    const [input, out] = [at("missing.jsonl"), at("present.jsonl")];
    const audio = ["none.wav", "corpus/a.wav", "corpus", "/dev/null"];
    writeFileSync(input, audio.map((path) => `${JSON.stringify({ audio: path, text: "b" })}\n`).join(""));
    const run = await cli(["data", "jsonl", input, "--out", out]);
    expect(run.stderr).toContain(`skipped: ${input}:3: a directory, not a file: ${at("corpus")}`);
    expect(run.stderr).toContain(`skipped: ${input}:4: a device or a pipe, not a file: /dev/null`);
    expect(run.stderr).toContain(`skipped: ${input}:1: no such file: ${at("none.wav")}`);
    expect(run.stdout).toContain("1 utterances, 0.00 h; 3 skipped");
    expect(readFileSync(out, "utf8")).toBe('{"audio":"corpus/a.wav","text":"b"}\n');
  });

  // Plan: what stands at --out, and what becomes of it: [out, other arguments, message].
  test.each([
    [
      "there.jsonl",
      [],
      /there\.jsonl: write: expected a new name, got a file that is there; name another, or replace it with --force/,
    ],
    ["source.jsonl", [], /source\.jsonl: write: expected another file than is read, got the same/],
    ["source.jsonl", ["--force"], /expected another file than is read, got the same/],
    ["linked.jsonl", ["--force"], /expected another file than is read, got the same/],
    ["corpus/a.wav", ["--force"], /expected another file than is read, got an utterance's audio/],
    ["other/a.wav", ["--force"], /expected another file than is read, got an utterance's audio/],
    ["hard.wav", ["--force"], /expected another file than is read, got an utterance's audio/],
    ["corpus", ["--force"], /expected a name for a file, got a directory's/],
    ["/dev/null", ["--force"], /expected the name of a file, got a device or a pipe/],
    [
      "nowhere/x.jsonl",
      ["--force"],
      /nowhere\/x\.jsonl: write: expected a directory to write it in, got no .*nowhere; make it/,
    ],
    ["there.jsonl/x.jsonl", [], /expected a directory to write it in, got a file; check .*there\.jsonl/],
  ])("--out %s %j is refused", async (out, more, message) => {
    writeFileSync(at("source.jsonl"), '{"audio":"corpus/a.wav","text":"a"}\n');
    writeFileSync(at("there.jsonl"), "kept");
    rmSync(at("linked.jsonl"), { force: true });
    symlinkSync(at("source.jsonl"), at("linked.jsonl"));
    const path = out.startsWith("/") ? out : at(out);
    const run = await cli(["data", "jsonl", at("source.jsonl"), "--out", path, ...more]);
    expect(expectRefusal(run)).toMatch(message);
    expect(readFileSync(at("there.jsonl"), "utf8")).toBe("kept");
    expect(readFileSync(at("source.jsonl"), "utf8")).toContain("corpus/a.wav");
    expect(readFileSync(at("corpus/a.wav")).subarray(0, 4).toString()).toBe("RIFF");
  });

  // Plan: the corpus by its own name or by a link, and a file of it by either: [corpus, out].
  test.each([
    ["corpus", "corpus/wav.scp"],
    ["corpus", "corpus/text"],
    ["corpus", "corpus/a.wav"],
    ["corpus", "other/text"],
    ["other", "corpus/text"],
    ["other", "other/wav.scp"],
  ])("--force replaces no file of the corpus: %s, %s", async (corpus, out) => {
    const before = readFileSync(at(out));
    const run = await cli(["data", "kaldi", at(corpus), "--out", at(out), "--force"]);
    expect(expectRefusal(run)).toContain("expected another file than is read, got the same");
    expect(readFileSync(at(out)).equals(before)).toBe(true);
  });

  test("--force replaces an earlier file, and - is standard output alone", async () => {
    writeFileSync(at("source.jsonl"), '{"audio":"corpus/a.wav","text":"a"}\n');
    writeFileSync(at("old.jsonl"), "old");
    const forced = await cli(["data", "jsonl", at("source.jsonl"), "--out", at("old.jsonl"), "--force"]);
    expect(forced.code).toBe(0);
    expect(readFileSync(at("old.jsonl"), "utf8")).toBe('{"audio":"corpus/a.wav","text":"a"}\n');
    const piped = await cli(["data", "jsonl", at("source.jsonl"), "--out", "-"]);
    expect(piped.code).toBe(0);
    const audio = relative(process.cwd(), at("corpus", "a.wav"));
    expect(piped.stdout).toBe(`${JSON.stringify({ audio, text: "a" })}\n`);
    expect(piped.stderr).toContain("1 utterances, 0.00 h; 0 skipped");
    expect(existsSync("-")).toBe(false);
  });

  test("nothing to write is an error", async () => {
    writeFileSync(at("empty.jsonl"), "\n");
    const line = expectRefusal(await cli(["data", "jsonl", at("empty.jsonl"), "--out", at("none2.jsonl")]));
    expect(line).toContain("utterances: expected at least one, got none, 0 skipped");
    expect(existsSync(at("none2.jsonl"))).toBe(false);
  });

  test("--strict leaves out audio that is cut short, damaged or none, once decoded", async () => {
    const cut = wav(1, 1).subarray(0, -8000);
    writeFileSync(at("cut.wav"), cut);
    const lines = [
      { audio: "corpus/a.wav", text: "a" },
      { audio: "cut.wav", text: "b", end: 0.2 },
      { audio: "cut.wav", text: "c" },
      { audio: "corpus/c.wav", text: "no header" },
    ];
    writeFileSync(at("some.jsonl"), lines.map((line) => JSON.stringify(line)).join("\n"));
    const make = (...rest: string[]): ReturnType<typeof cli> =>
      cli(["data", "jsonl", at("some.jsonl"), "--out", at("strict.jsonl"), ...rest]);
    const strict = await make("--strict");
    expect({ code: strict.code, stdout: strict.stdout }).toEqual({
      code: 0,
      stdout: `${at("strict.jsonl")}: 1 utterances, 0.00 h; 3 skipped\n`,
    });
    const why = `skipped: bad audio: ${at("cut.wav")}: audio: expected a whole file (--strict), got 0.75 s could be read of the 1.00 s in the header; copy or download it again, or make it anew from its source`;
    const skipped = strict.stderr.split("\n").filter((line) => line.startsWith("skipped"));
    expect(skipped.slice(0, 2)).toEqual([why, why]);
    expect(skipped[2]).toContain(`skipped: bad audio: ${at("corpus", "c.wav")}: container: expected WAV`);
    expect((await make("--force")).stdout).toContain("4 utterances");
  });

  test("an LLM's answers, one for each transcript; one that is cut is skipped", async () => {
    const transcripts = at("transcripts.jsonl");
    const lines = ["打开厨房的台灯", "", "打开厨房的台灯"].map((text) =>
      JSON.stringify({ audio: "corpus/a.wav", text }),
    );
    writeFileSync(transcripts, lines.join("\n"));
    const ask = (...rest: string[]): ReturnType<typeof cli> =>
      cli(["data", "jsonl", transcripts, "--out", at("answers.jsonl"), "--model", llm, ...rest]);
    const cut = await ask("--answers", "翻译成英文：", "--max-tokens", "3");
    expect(cut.code).toBe(0);
    expect(cut.stdout).toContain("1 utterances, 0.00 h; 2 skipped");
    expect(cut.stderr).toContain(
      `skipped: ${at("corpus", "a.wav")}: the answer to "打开厨房的台灯" has no end`,
    );
    const whole = await ask("--answers", "翻译成英文：{text}", "--prompt", "语音翻译成英文：", "--force");
    expect(whole.stdout).toContain("3 utterances, 0.00 h; 0 skipped");
    const answers = readFileSync(at("answers.jsonl"), "utf8").trimEnd().split("\n");
    expect(answers.map((line) => JSON.parse(line) as unknown)).toEqual(
      ["turn on the lamp in the kitchen", "", "turn on the lamp in the kitchen"].map((text) => ({
        audio: "corpus/a.wav",
        prompt: "语音翻译成英文：",
        text,
        transcript: text === "" ? "" : "打开厨房的台灯",
      })),
    );
  });

  test.each([
    [
      ["nist", "x", "--out", "y"],
      "Allowed choices are aishell1, aishell2, wenetspeech, covost2, librispeech, kaldi, stm, jsonl",
    ],
    [["nist", "x"], "Allowed choices are aishell1"],
    [["jsonl", "x"], "required option '--out <file>' not specified"],
    [["jsonl", "x", "--out", "y", "--answers", "z"], "--answers and --model go together"],
    [["jsonl", "x", "--out", "y", "--limit", "0"], "Expected a whole number from 1."],
    [
      ["jsonl", "x", "--out", "y", "--split", "dev"],
      "option '--split' has an effect only with a corpus that",
    ],
    [["kaldi", "x", "--out", "y", "--skip-bad"], "option '--skip-bad' has an effect only with jsonl"],
  ])("%j is wrong usage", async (args, complaint) => {
    const run = await cli(["data", ...args]);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain(complaint);
  });
});
