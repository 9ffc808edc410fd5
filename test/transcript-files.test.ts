import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { vadModel } from "../src/node/demo.js";
import { cli, errorLines, jsonLines } from "./helpers/cli.js";
import { stereoWav, talk } from "./helpers/talk.js";

const clip = (name: string): string =>
  fileURLToPath(new URL(`../models/demo/clips/${name}`, import.meta.url));
const [english, mandarin] = [clip("en-seen-1.wav"), clip("zh-seen-2.wav")];
const root = mkdtempSync(join(tmpdir(), "transcripts-"));
const at = (...names: string[]): string => join(root, ...names);
afterAll(() => rmSync(root, { recursive: true }));

// Plan: files of every form beside each other, with the words of the clip, whole or not there; one
// form on stdout; --resume runs what is missing, of each channel too; a page that fails costs no
// transcript; options that do not fit together are wrong usage.
describe("transcribe to files", () => {
  const words = "set the oven to eighty two degrees";

  it("--output-dir writes a file per clip and form, and prints their names", async () => {
    const run = await cli(["transcribe", "--output-dir", at("all"), english, mandarin]);
    expect(run.code).toBe(0);
    const names = ["json", "lrc", "srt", "tsv", "txt", "vtt"].flatMap((end) => [
      `en-seen-1.${end}`,
      `zh-seen-2.${end}`,
    ]);
    expect(readdirSync(at("all")).sort()).toEqual(names.sort());
    expect(run.stdout.trim().split("\n").sort()).toEqual(names.map((name) => at("all", name)).sort());
    const read = (end: string): string => readFileSync(at("all", `en-seen-1.${end}`), "utf8");
    expect(read("txt")).toBe(`${words}\n`);
    expect(JSON.parse(read("json"))).toMatchObject({ file: english, text: words, finish: "stop" });
    for (const end of ["srt", "vtt", "lrc", "tsv"]) expect(read(end)).toContain(words);
    expect(read("srt")).toMatch(/^1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n/);
  });

  it("--resume skips clips whose files are there, --json lists the files", async () => {
    rmSync(at("all", "zh-seen-2.vtt"));
    const run = await cli(["transcribe", "--json", "--resume", "--output-dir", at("all"), english, mandarin]);
    expect(run.stderr).toContain("1 of 2 clips are done");
    const lines = jsonLines(run);
    expect(lines).toMatchObject([{ file: mandarin, finish: "stop" }]);
    expect(lines[0].outputs).toContain(at("all", "zh-seen-2.vtt"));
    expect(existsSync(at("all", "zh-seen-2.vtt"))).toBe(true);
  });

  it("--format prints one form, --report writes a page with the audio and the words", async () => {
    const report = ["--report", at("page.html")];
    const run = await cli(["transcribe", "--format", "vtt", "--max-line-width", "20", ...report, english]);
    expect(run).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^WEBVTT\n\n.* --> .*\nset the oven/) as string,
    });
    const text = run.stdout
      .split("\n")
      .slice(3)
      .filter((line) => line !== "" && !line.includes("-->"));
    expect(text.join(" ")).toBe(words);
    const page = readFileSync(at("page.html"), "utf8");
    expect(page).toContain(`<span class="text">${words}</span>`);
    expect(page).toContain('src="data:audio/wav;base64,');
    expect(page).toMatch(/"speech":"[A-Za-z0-9+/]{100}/);
    for (const line of text) expect(line.length).toBeLessThanOrEqual(20);
  });

  it("--channel each writes the files of each channel in segments, --resume those that are missing", async () => {
    const left = talk(2);
    const right = left.map((_, i) => (i < 100_000 ? 0 : left[i - 100_000]));
    writeFileSync(at("stereo.wav"), stereoWav(left, right));
    const args = ["transcribe", "--vad", vadModel, "--format", "tsv", "--output-dir", at("each")];
    const each = [...args, "--channel", "each", at("stereo.wav")];
    const run = await cli(each);
    expect(run).toMatchObject({
      code: 0,
      stdout: `${at("each", "stereo.1.tsv")}\n${at("each", "stereo.2.tsv")}\n`,
    });
    const second = readFileSync(at("each", "stereo.2.tsv"), "utf8");
    expect(readFileSync(at("each", "stereo.1.tsv"), "utf8").split("\n").length).toBe(4);
    await cli([...args, "--channel", "right", at("stereo.wav")]);
    expect(readFileSync(at("each", "stereo.tsv"), "utf8")).toBe(second);
    rmSync(at("each", "stereo.2.tsv"));
    const again = await cli([...each, "--resume"]);
    expect(again).toMatchObject({ code: 0, stdout: `${at("each", "stereo.2.tsv")}\n` });
    expect(again.stderr).toContain(`${at("stereo.wav")} [left]: is done`);
    expect(readFileSync(at("each", "stereo.2.tsv"), "utf8")).toBe(second);
  });

  it("a page that cannot be written costs no transcript", async () => {
    writeFileSync(at("gone.wav"), readFileSync(english));
    const load = at("gone.mjs");
    writeFileSync(
      load,
      `import fs from "node:fs"; const { write } = process.stdout;
       process.stdout.write = function (...args) { fs.rmSync(${JSON.stringify(at("gone.wav"))}, { force: true }); return write.apply(this, args); };`,
    );
    const run = await cli(["transcribe", "--report", at("gone.html"), at("gone.wav")], {
      NODE_OPTIONS: `--import=${load}`,
    });
    expect(run).toMatchObject({ code: 1, stdout: `${words}\n` });
  });

  it.each([
    [["--format", "srt", english, mandarin], /--format srt of several transcripts needs --output-dir/],
    [["--format", "all", english], /--format all needs --output-dir/],
    [["--json", "--format", "srt", english], /--json and --format srt need --output-dir/],
    [["--report", at("x.html"), english, mandarin], /--report takes one transcript/],
    [["--report", at("x.html"), "-"], /--report needs a file/],
    [["--resume", english], /'--resume' has an effect only with --output-dir/],
    [["--max-lines", "3", english], /'--max-lines' has an effect only with --format/],
    [["--output-dir", at("x"), english, "elsewhere/en-seen-1.mp3"], /would both be written as en-seen-1/],
    [["--max-line-width", "9", "--format", "srt", english], /Expected a whole number from 10 to 200/],
  ])("%j is wrong usage", async (args, message) => {
    const run = await cli(["transcribe", ...args]);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(errorLines(run)).toEqual([expect.stringMatching(message)]);
    expect(existsSync(at("x"))).toBe(false);
  });

  it("an --output-dir that is a file is one line before the model is loaded", async () => {
    const file = await cli(["transcribe", "--output-dir", english, mandarin]);
    expect(file).toMatchObject({ code: 1, stdout: "" });
    expect(errorLines(file)).toEqual([expect.stringContaining("expected a directory, got a file")]);
    expect(file.stderr).not.toContain("loaded in");
  });
});
