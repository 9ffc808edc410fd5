import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Results } from "../src/evaluate/results.js";
import { demoModel } from "../src/node/demo.js";
import { type Run, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { type Evaluations, evaluations, lines } from "./helpers/evaluations.js";

let data: Evaluations;
const at = (name: string): string => data.at(name);
const rows = (name: string): Record<string, unknown>[] => data.rows(name);
const evaluate = (...args: string[]): Promise<Run> => data.evaluate(...args);

beforeAll(async () => {
  data = await evaluations({
    "two.jsonl": lines({ audio: "a.wav", text: "打开灯" }, { audio: "b.wav", text: "one two" }),
    "kaldi/wav.scp": "u1 ../a.wav\nu2 ../b.wav\n",
    "kaldi/text": "u1 hello there\nu2 打开 灯\nu3 nobody\n",
  });
});
afterAll(() => data.remove());

interface Result {
  readonly weights: string;
  readonly measured: Record<string, number>;
  readonly agreesWithFirst?: number;
  readonly summary: {
    readonly groups: readonly {
      readonly name: string;
      readonly utterances: number;
      readonly failed: number;
      readonly scores: readonly {
        readonly name: string;
        readonly value: number;
        readonly signature?: string;
      }[];
    }[];
    readonly latency?: Record<string, unknown>;
    readonly forced?: { readonly positions: number; readonly agreement: number };
  };
}
const results = (run: Run): Result[] => jsonLines(run) as unknown as Result[];
const score = ({ summary }: Result, group: string, name: string): string =>
  summary.groups
    .find((g) => g.name === group)!
    .scores.find((s) => s.name === name)!
    .value.toFixed(4);

// Plan: one command prints what the model card says of the ten clips.
describe("the demo", () => {
  it("has the card's error rates: 3.75 % in English, 0.00 % in Mandarin, 5 % of the words", async () => {
    const run = await cli([
      "evaluate",
      "--data",
      join(demoModel, "clips/clips.jsonl"),
      "--json",
      "--second",
      "2",
    ]);
    expect(run).toMatchObject({ code: 0, signal: null });
    const [result] = results(run);
    expect(score(result, "spaced", "CER")).toBe("0.0375");
    expect(score(result, "spaced", "WER")).toBe("0.0500");
    expect(score(result, "unspaced", "CER")).toBe("0.0000");
    const { weightBytes, gpuPeakBytes, residentPeakBytes } = result.measured;
    expect(weightBytes).toBeGreaterThan(8e6);
    expect(gpuPeakBytes).toBeGreaterThan(weightBytes);
    expect(residentPeakBytes).toBeGreaterThan(gpuPeakBytes);
    expect(result.measured.second).toMatchObject({ tokens: expect.any(Number) as number });
  });

  it("prints tables", async () => {
    const { stdout } = await cli([
      "evaluate",
      "--data",
      join(demoModel, "clips/clips.jsonl"),
      "--second",
      "0",
      "--limit",
      "7",
    ]);
    expect(stdout).toMatch(/weights +script +clips +failed +CER +MER +WER/);
    expect(stdout).toMatch(/stored +with spaces +4 +0 +4\.72 % \[0\.00, 16\.98\]/);
    expect(stdout).toMatch(/stored +without spaces +3 +0 +0\.00 %/);
  });
});

// Plan: wav.scp and text are read as JSONL is; ids without a file are reported.
it("reads a Kaldi directory", async () => {
  const run = await evaluate("--data", at("kaldi"), "--json");
  expect(run.code).toBe(1);
  expect(errorLines(run)).toEqual([expect.stringMatching(/text:3: no u3 in .*wav\.scp/)]);
  const [badLine, { summary }] = results(run);
  expect(badLine).toMatchObject({ file: expect.stringMatching(/text:3$/) as string });
  expect(summary.groups.map(({ name, utterances }) => [name, utterances])).toEqual([
    ["all", 2],
    ["spaced", 1],
    ["unspaced", 1],
  ]);
});

// Plan: a run whose file was cut in mid-line runs what is missing and nothing else, and comes to
// the same scores; results of another run are refused.
describe("--out", () => {
  it("goes on where it was cut", async () => {
    const whole = await evaluate("--data", at("two.jsonl"), "--out", at("run"), "--json");
    expect(whole.code).toBe(0);
    const [first, second] = rows("run/utterances-stored.jsonl");
    writeFileSync(at("run/utterances-stored.jsonl"), `${JSON.stringify({ ...first, hypothesis: "kept" })}\n`);
    appendFileSync(at("run/utterances-stored.jsonl"), JSON.stringify(second).slice(0, 50));
    const rest = await evaluate("--data", at("two.jsonl"), "--out", at("run"), "--json");
    expect(rest.stderr).toContain("stored: 1 of 2 utterances are done");
    const again = rows("run/utterances-stored.jsonl");
    expect(again[0].hypothesis).toBe("kept");
    expect({ ...again[1], seconds: 0 }).toEqual({ ...second, seconds: 0 });
    const none = await evaluate("--data", at("two.jsonl"), "--out", at("run"), "--json");
    expect(none.stderr).toContain("2 of 2 utterances are done");
    expect(results(none)[0].summary).toEqual(results(rest)[0].summary);
  });

  it("refuses another run's", async () => {
    const run = await evaluate("--data", at("two.jsonl"), "--out", at("run"), "--batch", "2");
    expect(expectRefusal(run)).toMatch(
      /run\.json: batch: expected 2, got 1; these are another run's results/,
    );
  });

  it("refuses utterances that nothing says whose they are", async () => {
    mkdirSync(at("nobody"));
    writeFileSync(at("nobody/utterances-stored.jsonl"), readFileSync(at("run/utterances-stored.jsonl")));
    const run = await evaluate("--data", at("two.jsonl"), "--out", at("nobody"));
    expect(expectRefusal(run)).toMatch(/utterances-stored\.jsonl: expected run\.json beside it, got none/);
  });

  it("says whose the results are before the first of them", async () => {
    await Results.open(at("early"), { model: "a" });
    await expect(Results.open(at("early"), { model: "b" })).rejects.toThrow(
      /run\.json: model: expected "b", got "a"/,
    );
  });

  it("makes a page that needs nothing else", () => {
    const html = readFileSync(at("run/report.html"), "utf8");
    expect(html.match(/<figure>/g)!.length).toBe(2);
    expect(html).toMatch(/<audio controls[^>]* src="data:audio\/wav;base64,/);
    expect(html).not.toMatch(/<script|(src|href)="(?!data:|#)|url\((?!#|'#)/);
    expect(JSON.parse(readFileSync(at("run/report.json"), "utf8"))).toMatchObject({
      badLines: 0,
      results: [{ weights: "stored" }],
    });
  });
});

// Plan: several weight formats in one run; forced decoding measures how far they agree; two runs
// are compared.
describe("formats", () => {
  it("are run one after another", async () => {
    const run = await evaluate(
      "--data",
      at("two.jsonl"),
      "--weights",
      "bf16,f32,q8",
      "--forced",
      "--out",
      at("formats"),
      "--json",
      "--batch",
      "2",
    );
    expect(run.code).toBe(0);
    const all = results(run);
    expect(all.map(({ weights }) => weights)).toEqual(["bf16", "f32", "q8"]);
    expect(all[1].measured.weightBytes).toBeGreaterThan(1.5 * all[0].measured.weightBytes);
    expect(all[0].summary.forced!.positions).toBeGreaterThan(5);
    expect(all.slice(0, 2).map(({ agreesWithFirst }) => agreesWithFirst)).toEqual([1, 1]);
    expect(all[1].summary.forced).toEqual(all[0].summary.forced); // bf16 is exact in f32
    for (const name of ["bf16", "f32", "q8"])
      expect(existsSync(at(`formats/utterances-${name}.jsonl`))).toBe(true);
  });

  it("are compared", async () => {
    const run = await evaluate(
      "--compare",
      at("formats/utterances-bf16.jsonl"),
      at("formats/utterances-f32.jsonl"),
      "--json",
    );
    expect(run.code).toBe(0);
    const [{ utterances, metrics }] = jsonLines(run);
    expect(utterances).toBe(2);
    expect(metrics).toEqual([
      expect.objectContaining({ name: "CER", difference: 0, p: 1 }),
      expect.objectContaining({ name: "MER", difference: 0, p: 1 }),
    ]);
  });
});

// Plan: a translation has its scores with sacrebleu's signatures, whose tokeniser is the target
// language's; translate prints the same.
describe("translation", () => {
  it.each([
    ["zh", "zh", "asian:yes"],
    ["en", "13a", "asian:no"],
  ])("into %s", async (to, tokenizer, asian) => {
    const run = await evaluate(
      "--data",
      at("two.jsonl"),
      "--task",
      "st",
      "--to",
      to,
      "--json",
      "--out",
      at(`st-${to}`),
    );
    expect(run.code).toBe(0);
    const { scores } = results(run)[0].summary.groups[0];
    expect(scores.map(({ name }) => name)).toEqual(["BLEU", "chrF2", "TER"]);
    expect(scores[0].signature).toBe(`nrefs:1|case:mixed|eff:no|tok:${tokenizer}|smooth:exp|version:2.6.0`);
    expect(scores[2].signature).toContain(asian);
    const said = await cli([
      "translate",
      "--to",
      to,
      "--model",
      data.model,
      "--max-tokens",
      "6",
      "--json",
      at("a.wav"),
      at("b.wav"),
    ]);
    expect(jsonLines(said).map(({ text }) => text)).toEqual(
      rows(`st-${to}/utterances-stored.jsonl`).map(({ hypothesis }) => hypothesis),
    );
  });

  it("by a cascade keeps the transcript", async () => {
    const run = await evaluate(
      "--data",
      at("two.jsonl"),
      "--task",
      "st",
      "--to",
      "en",
      "--cascade",
      "--out",
      at("cascade"),
    );
    expect(run.code).toBe(0);
    expect(run.stdout).toContain("BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
    const heard = jsonLines(
      await cli([
        "transcribe",
        "--model",
        data.model,
        "--max-tokens",
        "6",
        "--json",
        at("a.wav"),
        at("b.wav"),
      ]),
    );
    expect(rows("cascade/utterances-stored.jsonl").map(({ transcript }) => transcript)).toEqual(
      heard.map(({ text }) => text),
    );
  });

  it.each([
    [["translate", "a.wav"], /required option '--to <code>' not specified/],
    [["translate", "--to", "fr", "a.wav"], /'fr' is invalid/],
    [["translate", "--to", "en", "--language", "zh", "a.wav"], /--language needs --cascade/],
  ])("%j is wrong usage", async (args, message) => {
    const run = await cli(args);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(run.stderr).toMatch(message);
  });
});

it("latency alone needs no data", async () => {
  const out = at("empty");
  mkdirSync(out);
  const run = await cli([
    "evaluate",
    "--model",
    data.model,
    "--second",
    "1",
    "--max-tokens",
    "3",
    "--json",
    "--out",
    out,
  ]);
  expect(run.code).toBe(0);
  expect(run.stderr).toContain("no --data: latency on one second of noise; give --data for error rates\n");
  expect(results(run)[0]).toMatchObject({
    summary: { groups: [{ utterances: 0 }] },
    measured: { second: { tokens: 3 } },
  });
  expect(readFileSync(join(out, "report.html"), "utf8")).toContain("one second of audio");
  rmSync(out, { recursive: true });
});
