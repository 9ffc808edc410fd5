import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Run, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { type Evaluations, evaluations, lines } from "./helpers/evaluations.js";

let data: Evaluations;
const at = (name: string): string => data.at(name);
const rows = (name: string): Record<string, unknown>[] => data.rows(name);
const evaluate = (...args: string[]): Promise<Run> => data.evaluate(...args);

beforeAll(async () => {
  data = await evaluations({
    "records.jsonl": lines({ audio: "a.wav" }),
    "bad.jsonl": `${lines({ audio: "a.wav", text: "x" })}{\n${lines({ audio: "broken.wav", text: "y" }, { audio: "none.wav", text: "z" }, { audio: "b.wav", text: "w" })}`,
    "parts.jsonl": lines(
      { audio: "b.wav", text: "x", start: 0.2, end: 0.6 },
      { audio: "b.wav", text: "y", start: 0.5, end: 2 },
    ),
    "wrongkeys.jsonl": lines({ wav: "a.wav", txt: "x" }, { audio: "a.wav", text: "x", prompt: 1 }),
    "channels.jsonl": lines(
      { audio: "a.wav", text: "x", channel: 1 },
      { audio: "a.wav", text: "x", channel: 2 },
      { audio_filepath: "a.wav", text: "x", duration: 0.4, prompt: null },
    ),
    "audio.jsonl": lines(
      { audio: "b.wav", text: "x" },
      ...["none.wav", ".", "pipe", "/dev/zero", "/dev/null", "linked"].map((audio) => ({ audio, text: "y" })),
    ),
    "half/text": "u1 hello\nu2 there\nu3 again\n",
    "half/wav.scp": "u1 ../a.wav\nu3 sox x |\n",
    "kaldi/text": "u1 hello there\n",
    "kaldi/wav.scp": "u1 ../a.wav\n",
    "kaldi/utt2lang": "u1 en\n",
  });
  execFileSync("mkfifo", [at("pipe")]);
  symlinkSync(at("pipe"), at("linked"));
});
afterAll(() => data.remove());

interface Result {
  readonly summary: {
    readonly groups: readonly {
      readonly name: string;
      readonly utterances: number;
      readonly failed: number;
      readonly scores: readonly object[];
    }[];
  };
}
const results = (run: Run): Result[] => jsonLines(run) as unknown as Result[];

// Plan: what cannot be read is reported in one line each and counted, is in no rate, and makes the
// exit code 1; the others are run.
describe("bad input", () => {
  it("a damaged line, a damaged file, a missing file", async () => {
    const run = await evaluate("--data", at("bad.jsonl"), "--json", "--batch", "4", "--out", at("bad"));
    expect(run).toMatchObject({ code: 1, signal: null });
    expect(errorLines(run).length).toBe(3);
    expect(errorLines(run).join("\n")).toMatch(
      /bad\.jsonl:2: line: expected JSON[^]*broken\.wav: [^]*none\.wav: expected a file/,
    );
    const { summary } = results(run).find((result) => "summary" in result)!;
    expect(summary.groups[0]).toMatchObject({ utterances: 4, failed: 2 });
    expect(summary.groups[0].scores[0]).toMatchObject({ name: "CER", length: 2 });
    const records = rows("bad/utterances-stored.jsonl");
    expect(records.map(({ line, error }) => [line, typeof error])).toEqual(
      expect.arrayContaining([
        [1, "undefined"],
        [3, "string"],
        [4, "string"],
        [5, "undefined"],
      ]),
    );
    const html = readFileSync(at("bad/report.html"), "utf8");
    expect(html).toContain("Failed utterances");
    expect(html).toContain("1 lines of the data hold no utterance");
  });

  it("data of bad lines alone: the reason of each, then that nothing is left", async () => {
    const run = await evaluate("--data", at("wrongkeys.jsonl"));
    expect(run).toMatchObject({ code: 1, stdout: "" });
    expect(errorLines(run)).toEqual([
      expect.stringMatching(
        /wrongkeys\.jsonl:1: audio: expected a path, got nothing \(the line has "wav", "txt"\)/,
      ),
      expect.stringMatching(/wrongkeys\.jsonl:2: prompt: expected a text, got 1/),
      expect.stringMatching(
        /content: expected an utterance or more, got none, and 2 wrong lines; correct them/,
      ),
    ]);
  });

  it.each([
    ["wrongkeys.jsonl", ["wrongkeys.jsonl:1", "wrongkeys.jsonl:2", "wrongkeys.jsonl"]],
    ["bad.jsonl", ["bad.jsonl:2", "broken.wav", "none.wav"]],
    ["half", ["half/text:2", "half/text:3"]],
  ])("--json prints an object for each bad line of %s", async (name, files) => {
    const run = await evaluate("--data", at(name), "--json");
    const failed = jsonLines(run).filter((line) => "error" in line);
    expect(failed.map(({ file }) => file)).toEqual(files.map(at));
    expect(failed.map(({ error }) => `error: ${(error as Error).message}`)).toEqual(errorLines(run));
  });

  it("a line's channel is heard; one that the file lacks is an error", async () => {
    const run = await evaluate("--data", at("channels.jsonl"), "--channel", "left", "--out", at("channels"));
    expect(run.code).toBe(1);
    expect(errorLines(run)).toEqual([
      expect.stringMatching(/a\.wav: channel: expected 1, the only one, got 2/),
    ]);
    expect(rows("channels/utterances-stored.jsonl").map(({ channel }) => channel)).toEqual([1, 2, undefined]);
  });

  it("parts that the file does not have", async () => {
    const run = await evaluate("--data", at("parts.jsonl"), "--json", "--out", at("parts"));
    expect(run.code).toBe(1);
    expect(errorLines(run)).toEqual([
      expect.stringMatching(/b\.wav: start and end: expected a part of its 0\.90 s, got 0\.5 to 2/),
    ]);
    expect(rows("parts/utterances-stored.jsonl")[0]).toMatchObject({
      start: 0.2,
      end: 0.6,
      audioSeconds: 0.4,
    });
  });

  it("a table of a Kaldi directory that is not used is a note", async () => {
    const run = await evaluate("--data", at("kaldi"));
    expect(run.code).toBe(0);
    expect(run.stderr).toContain(`${at("kaldi")}: not used: utt2lang; name the language with --language`);
  });

  it("audio that is not there, or no file", async () => {
    const run = await evaluate("--data", at("audio.jsonl"), "--out", at("audio"));
    expect(run.code).toBe(1);
    expect(errorLines(run).map((line) => line.split(": ").slice(-2).join(": "))).toEqual([
      expect.stringMatching(/none\.wav: expected a file of that name, got none; check the path$/),
      "type: expected a file, got a directory; name the clips in it",
      expect.stringMatching(/^type: expected a file, got a named pipe, which has no length; /),
      expect.stringMatching(/^type: expected a file, got a device; /),
      expect.stringMatching(/^type: expected a file, got a device; /),
      expect.stringMatching(/^type: expected a file, got a named pipe, which has no length; /),
    ]);
    expect(rows("audio/utterances-stored.jsonl").map(({ line, error }) => [line, typeof error])).toEqual([
      [1, "undefined"],
      ...[2, 3, 4, 5, 6, 7].map((line) => [line, "string"]),
    ]);
  });

  it.each([
    ["report.json", "pipe", "a named pipe"],
    ["run.json", "pipe", "a named pipe"],
    ["utterances-stored.jsonl", "pipe", "a named pipe"],
    ["report.html", ".", "a directory"],
    ["report.json", "/dev/zero", "a device"],
  ])("%s in --out is a link to %s: refused before the work", async (name, target, got) => {
    const out = mkdtempSync(at("out-"));
    symlinkSync(/^\//.test(target) ? target : at(target), join(out, name));
    const run = await evaluate("--data", at("parts.jsonl"), "--out", out);
    expect(expectRefusal(run)).toContain(
      `${join(out, name)}: write: expected a file, or none, got ${got}; remove it, or name another --out`,
    );
    expect(run.stderr).not.toContain("device: ");
  });

  it.each([
    [["--data", "none.jsonl"], /none\.jsonl: expected a file of that name, got none/],
    [["--data", "."], /: directory: expected wav\.scp and text in it, got no wav\.scp/],
    [["--data", "/dev/zero"], /\/dev\/zero: type: expected a file, got a device/],
    [["--data", "pipe"], /pipe: type: expected a file, got a named pipe/],
    [["--compare", "records.jsonl", "pipe"], /pipe: type: expected a file, got a named pipe/],
    [["--compare", "linked", "records.jsonl"], /linked: type: expected a file, got a named pipe/],
    [["--compare", "/dev/zero", "records.jsonl"], /\/dev\/zero: type: expected a file, got a device/],
    [["--compare", ".", "records.jsonl"], /: type: expected a file, got a directory/],
    [["--compare", "kaldi/text", "kaldi/text"], /kaldi\/text:1: line: expected JSON/],
  ])("%j", async (args, message) => {
    const inside = args.map((arg) => (/^(--|\/dev)/.test(arg) ? arg : at(arg)));
    expect(expectRefusal(await evaluate(...inside))).toMatch(message);
  });

  it.each([
    [["--second", "0"], /--data is missing/],
    [["--data", "x", "--task", "st"], /--task st needs --to/],
    [["--data", "x", "--to", "zh"], /need --task st/],
    [["--compare", "x"], /--compare takes two files/],
    [["--data", "x", "--weights", "q8,q2"], /Expected f32, bf16, f16, q8, q4, each once/],
    [["--data", "x", "--weights", "q8,q8"], /each once/],
    [["--data", "x", "--tokenizer", "zh"], /option '--tokenizer' has an effect only with --task st/],
    [["--compare", "x", "y", "--data", "z"], /option '--data' has an effect only with a model that runs/],
  ])("%j is wrong usage", async (args, message) => {
    const run = await cli(["evaluate", ...args]);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(run.stderr).toMatch(message);
  });
});
