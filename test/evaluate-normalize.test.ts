import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { demoModel } from "../src/node/demo.js";
import { type Run, cli, expectRefusal, jsonLines } from "./helpers/cli.js";
import { writeDirectory } from "./helpers/tiny-model.js";

let work: ReturnType<typeof writeDirectory>;
const at = (name: string): string => join(work.path, name);
const line = (name: string, text: string): string =>
  `${JSON.stringify({ audio: join(demoModel, "clips", name), text })}\n`;

beforeAll(() => {
  work = writeDirectory(
    new Map([
      ["numbers.jsonl", line("en-seen-1.wav", "Set the oven to 82 degrees.")],
      ["plain.jsonl", line("en-seen-1.wav", "set the oven to eighty two degrees")],
    ]),
  );
});
afterAll(() => work.remove());

const evaluate = (...args: string[]): Promise<Run> =>
  cli(["evaluate", "--second", "0", "--language", "en", ...args]);

interface Score {
  readonly name: string;
  readonly value: number;
  readonly signature: string;
}
const scores = (run: Run): readonly Score[] =>
  (jsonLines(run)[0].summary as { groups: { scores: Score[] }[] }).groups[0].scores;

// Plan: the same answer against "82" and "eighty two": what the normaliser changes, where it says
// so, and that nothing is run again.
describe("--normalize", () => {
  it("82 and eighty two are alike to whisper alone, over the same records", async () => {
    const plain = await evaluate("--data", at("numbers.jsonl"), "--out", at("run"), "--json");
    expect(scores(plain).map(({ name, value }) => [name, value.toFixed(3)])).toEqual([
      ["CER", "0.429"],
      ["WER", "0.333"],
    ]);
    expect(scores(plain)[0].signature).toBe("unit:character|norm:none|form:text_tn");
    const whisper = await evaluate(
      ...["--data", at("numbers.jsonl"), "--out", at("run"), "--normalize", "whisper", "--json"],
    );
    expect(whisper.stderr).toContain("1 of 1 utterances are done");
    expect(scores(whisper)).toEqual([
      expect.objectContaining({
        name: "CER",
        value: 0,
        signature: "unit:character|norm:whisper(1)|form:whisper",
      }),
      expect.objectContaining({ name: "WER", value: 0, signature: "unit:word|norm:whisper(1)|form:whisper" }),
    ]);
  });

  it("the report has the signature as text, JSON and HTML", async () => {
    const { stdout } = await evaluate(
      ...["--data", at("numbers.jsonl"), "--out", at("run"), "--normalize", "whisper"],
    );
    expect(stdout).toContain("CER|unit:character|norm:whisper(1)|form:whisper");
    expect(readFileSync(at("run/report.html"), "utf8")).toContain(
      "CER|unit:character|norm:whisper(1)|form:whisper",
    );
    expect(JSON.parse(readFileSync(at("run/report.json"), "utf8"))).toMatchObject({
      settings: { normalize: ["whisper"] },
    });
  });

  it("--compare takes the form of both reports, refuses two forms, and takes the one that is named", async () => {
    expect((await evaluate("--data", at("numbers.jsonl"), "--out", at("plain"))).code).toBe(0);
    const files = ["run", "plain"].map((name) => at(`${name}/utterances-stored.jsonl`));
    const own = await cli(["evaluate", "--compare", files[0], files[0]]);
    expect(own.stdout).toContain("CER|unit:character|norm:whisper(1)|form:whisper");
    const two = await cli(["evaluate", "--compare", ...files]);
    expect(expectRefusal(two)).toMatch(
      /expected scores of one form, got --normalize whisper beside .*run.*and none beside .*plain.*name one for both with --normalize/,
    );
    const named = await cli(["evaluate", "--compare", ...files, "--normalize", "whisper", "--json"]);
    expect(jsonLines(named)[0].metrics).toMatchObject([
      { name: "CER", first: 0, second: 0, signature: "unit:character|norm:whisper(1)|form:whisper" },
      { name: "MER", first: 0, second: 0, unit: "mixed" },
    ]);
    const none = await cli(["evaluate", "--compare", ...files, "--normalize", "none", "--json"]);
    expect((jsonLines(none)[0].metrics as { first: number }[])[0].first).toBeCloseTo(3 / 7, 3);
  });

  it.each([
    [["--normalize", "english"], /expected none, or of simplified, chinese, whisper each once/],
    [
      ["--normalize", "whisper", "--task", "st", "--to", "en"],
      /'--normalize' has an effect only with --task asr/,
    ],
  ])("%j is wrong usage", async (args, message) => {
    const run = await cli(["evaluate", "--data", "x", ...args]);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(run.stderr).toMatch(message);
  });
});
