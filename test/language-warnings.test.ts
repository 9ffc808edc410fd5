import { join } from "node:path";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { demoModel } from "../src/node/demo.js";
import { cli, jsonLines } from "./helpers/cli.js";
import { writeDirectory } from "./helpers/tiny-model.js";

const clip = join(demoModel, "clips", "en-seen-1.wav");
let work: ReturnType<typeof writeDirectory>;
beforeAll(() => {
  work = writeDirectory(new Map([["one.jsonl", `${JSON.stringify({ audio: clip, text: "x" })}\n`]]));
});
afterAll(() => work.remove());

const count = (stderr: string, words: string): number => stderr.split(words).length - 1;

// Plan: the demo knows Chinese and English, so any other language gives one warning before the
// clips. A request for Thai that is answered in English gives one warning on stderr, in the JSON
// and in evaluate's records. A language that it knows gives none.
describe("a language that the checkpoint does not know, and an answer in another script", () => {
  it("transcribe", async () => {
    const run = await cli(["transcribe", "--json", "--language", "th", clip]);
    expect(run.code).toBe(0);
    expect(count(run.stderr, "warning: --language th: this checkpoint knows zh, en")).toBe(1);
    const [{ text, warning }] = jsonLines(run);
    expect(text).not.toBe("");
    expect(warning).toMatch(/^the answer is in another script \((Latin|Han)\); th was asked for$/);
    expect(count(run.stderr, `warning: ${clip}: ${warning as string}`)).toBe(1);
  });

  it("transcribe in the language that is spoken", async () => {
    const run = await cli(["transcribe", "--json", "--language", "en", clip]);
    expect(run.stderr).not.toContain("warning:");
    expect(jsonLines(run)[0]).not.toHaveProperty("warning");
  });

  it("evaluate: stderr, the JSON, and the records", async () => {
    const out = join(work.path, "out");
    const data = join(work.path, "one.jsonl");
    const run = await cli([
      ...["evaluate", "--second", "0", "--json", "--language", "th", "--data", data, "--out", out],
    ]);
    expect(run.code).toBe(0);
    const { measured, summary } = jsonLines(run)[0] as {
      measured: { warnings: string[] };
      summary: { warned: number };
    };
    expect(measured.warnings).toEqual([expect.stringMatching(/^--language th: this checkpoint knows/)]);
    expect(summary.warned).toBe(1);
    const record = JSON.parse(readFileSync(join(out, "utterances-stored.jsonl"), "utf8")) as object;
    expect(record).toMatchObject({ warnings: [expect.stringContaining("th was asked for")] });
    expect(count(run.stderr, "th was asked for")).toBe(1);
  });
});

// Plan: the demo did not learn to translate: one line says so, and the JSON has it.
it("translate with a checkpoint that cannot", async () => {
  const run = await cli(["translate", "--to", "zh", "--json", clip]);
  const [{ warning }] = jsonLines(run);
  expect(warning).toMatch(/(another script|no answer).*this checkpoint may not have learned to translate$/);
  expect(count(run.stderr, "may not have learned to translate")).toBe(1);
});
