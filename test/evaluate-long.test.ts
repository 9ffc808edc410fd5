import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Heard } from "../src/evaluate/record.js";
import type { FormatResult } from "../src/evaluate/report.js";
import { decodeClip } from "../src/node/clip.js";
import { demoModel } from "../src/node/demo.js";
import { type Run, cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";
import { lines } from "./helpers/evaluations.js";

const root = mkdtempSync(join(tmpdir(), "funasr-evaluate-long-"));
const at = (...names: string[]): string => join(root, ...names);
afterAll(() => rmSync(root, { recursive: true }));

interface Sentence {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

const rate = 16_000;
const clip = (name: string): string => join(demoModel, "clips", name);
const clips = readFileSync(clip("clips.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as { audio: string; text: string });
const sentences: Sentence[] = [];
let seconds = 0;

/** A 16-bit WAV. */
function wavOf(samples: readonly Float32Array[]): Buffer {
  const body = Buffer.concat(
    samples.map((part) => Buffer.from(Int16Array.from(part, (value) => Math.round(32_767 * value)).buffer)),
  );
  const head = Buffer.alloc(44);
  head.write("RIFF");
  head.writeUInt32LE(36 + body.length, 4);
  head.write("WAVEfmt ", 8);
  for (const [value, place] of [
    [16, 16],
    [0x0001_0001, 20],
    [rate, 24],
    [2 * rate, 28],
    [0x0010_0002, 32],
  ])
    head.writeUInt32LE(value, place);
  head.write("data", 36);
  head.writeUInt32LE(body.length, 40);
  return Buffer.concat([head, body]);
}

const stmLine = ({ start, end, text }: Sentence, name = "long"): string =>
  `${name} 1 speaker ${start} ${end} ${text}\n`;

beforeAll(async () => {
  const parts: Float32Array[] = [];
  let count = 0;
  const add = (samples: Float32Array): void => {
    parts.push(samples);
    count += samples.length;
  };
  for (let round = 0; round < 3; round++)
    for (const [i, { audio, text }] of clips.entries()) {
      add(new Float32Array(rate * (1.5 + 0.4 * (i % 3))));
      const start = count / rate;
      const { channels } = await decodeClip(clip(audio), { keep: { rate } });
      add(channels[0]);
      sentences.push({ start: round3(start), end: round3(count / rate), text });
    }
  seconds = count / rate;
  writeFileSync(at("long.wav"), wavOf(parts));
  writeFileSync(at("long.stm"), `;; a lecture\n${sentences.map((one) => stmLine(one)).join("")}`);
});

const round3 = (value: number): number => Math.round(1000 * value) / 1000;
const evaluate = (...args: string[]): Promise<Run> => cli(["evaluate", "--second", "0", ...args]);
const result = (run: Run): FormatResult =>
  (jsonLines(run) as unknown as FormatResult[]).find((one) => "summary" in one)!;
const records = (directory: string): Heard[] =>
  readFileSync(at(directory, "utterances-stored.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Heard);
const edits = ({ summary }: FormatResult): unknown => {
  const { substitutions, deletions, insertions, length } = summary.groups[0].scores[0] as never;
  return { substitutions, deletions, insertions, length };
};

// Plan: a recording of more than two minutes with its STM has the sentences' error rate, an interval
// over its segments, and errors of times; the page plays its worst segments; what is done is not run
// again, and scores in another form.
it("a recording and its STM", async () => {
  expect(seconds).toBeGreaterThan(121);
  const run = await evaluate("--data", at("long.stm"), "--out", at("stm"));
  expect(run).toMatchObject({ code: 0, signal: null });
  expect(run.stdout).toMatch(
    /weights +segments +begins found +error of begins \(p95\)[^]*missed speech +false speech\nstored +30 /,
  );
  const { results } = JSON.parse(readFileSync(at("stm/report.json"), "utf8")) as { results: FormatResult[] };
  const { groups, times, latency } = results[0].summary;
  const [cer] = groups[0].scores;
  expect(cer.value).toBeLessThan(0.05);
  expect(cer.low).toBeLessThan(cer.value);
  expect(cer.high).toBeGreaterThan(cer.value);
  expect(times).toMatchObject({ clips: 1, segments: 30 });
  expect(times!.start.found).toBeGreaterThanOrEqual(28);
  expect(times!.start.median).toBeLessThan(0.06);
  expect(times!.end.found).toBeGreaterThanOrEqual(28);
  expect(times!.missed).toBeLessThan(0.1);
  expect(times!.falseSpeech).toBeLessThan(0.3);
  expect(latency!.realTime.vad).toBeGreaterThan(0);
  const [record] = records("stm");
  expect(record.audioSeconds).toBeCloseTo(seconds, 3);
  expect(record.segments!.length).toBeGreaterThanOrEqual(20);
  expect(record.segments![0].words!.map(({ text }) => text).join(" ")).toBe(record.segments![0].text);
  expect(record.agreement ?? record.segments![0].agreement).toBeUndefined();
  const page = readFileSync(at("stm/report.html"), "utf8");
  expect(page).toContain("<h2>Times of the references</h2>");
  expect(page).toMatch(/long\.wav \(line 1, from \d+\.\d s\)/);
  expect(page).toContain('src="data:audio/wav;base64,');

  const again = await evaluate(
    "--data",
    at("long.stm"),
    "--out",
    at("stm"),
    "--normalize",
    "whisper",
    "--json",
  );
  expect(again.stderr).toContain("1 of 1 utterances are done");
  expect(result(again).summary.groups[0].scores[0].signature).toContain("norm:whisper");
  expect(result(again).summary.times).toEqual(times);
  const file = at("stm/utterances-stored.jsonl");
  const compared = await cli(["evaluate", "--compare", file, file]);
  expect(compared.stdout).toMatch(/error of begins ms +\d+\.\d+ +\d+\.\d+ +0\.00 \[0\.00, 0\.00\]/);
  const other = await evaluate("--data", at("long.stm"), "--out", at("stm"), "--merge-seconds", "15");
  expect(errorLines(other)).toEqual([
    expect.stringMatching(/mergeSeconds: expected 15, got null; .* name another --out/),
  ]);
}, 240_000);

// Plan: short clips have the results and batches that they have without long ones beside them. A
// long text without times has the same edits as with them. Parts have the file's times. Words in
// what is ignored are left out.
it("short clips, a part, one text and segments in one run", async () => {
  const [short, second] = [
    { audio: clip("en-seen-1.wav"), text: "set the oven to eighty two degrees" },
    { audio: clip("zh-seen-2.wav"), text: "二十二分钟后提醒我喂猫" },
  ];
  const middle = sentences.filter(({ start, end }) => start >= 40 && end <= 110);
  const spoken = sentences.filter(({ start, end }) => end <= 40 || start >= 110);
  const long = { audio: "long.wav" };
  writeFileSync(at("short.jsonl"), lines(short, second));
  writeFileSync(
    at("mixed.jsonl"),
    lines(
      short,
      { ...long, text: sentences.map(({ text }) => text).join(" ") },
      second,
      { ...long, start: 40, end: 110, segments: middle },
      { ...long, segments: spoken, ignore: [{ start: 40, end: 110 }] },
    ),
  );
  const shared = ["--strict", "--agreement", "--json"];
  const alone = await evaluate("--data", at("short.jsonl"), "--batch", "2", "--out", at("short"), ...shared);
  const mixed = await evaluate("--data", at("mixed.jsonl"), "--batch", "3", "--out", at("mixed"), ...shared);
  expect([alone.code, mixed.code]).toEqual([0, 0]);
  const found = new Map(records("mixed").map((record) => [record.line, record]));
  for (const [i, record] of records("short").entries())
    expect({ ...found.get([1, 3][i]), seconds: 0, line: 0 }).toEqual({ ...record, seconds: 0, line: 0 });
  const { agreement } = result(mixed).summary;
  expect(agreement!.right).toBeGreaterThan(40);

  const [text, part, rest] = [2, 4, 5].map((line) => found.get(line)!);
  expect(text.hypothesis).toBe(records("stm")[0].hypothesis);
  expect(text.referenceSegments).toBeUndefined();
  const inPart = part.segments!.every(({ start, end }) => start >= 40 && end <= 110);
  expect(inPart).toBe(true);
  expect(part.audioSeconds).toBeCloseTo(70, 3);
  const outside = rest.segments!.every(({ start, end }) => end <= 40.5 || start >= 109.5);
  expect(outside).toBe(true);
  expect(rest.hypothesis.length).toBeLessThan(text.hypothesis.length * 0.6);
}, 240_000);

// Plan: what cannot be scored is one line each with its place and makes the exit code 1; the others
// are run.
describe("bad input", () => {
  it("--vad off refuses a recording; a reference of another recording; a part behind the end", async () => {
    const short = { audio: clip("en-seen-1.wav"), text: "set the oven to eighty two degrees" };
    const segments = [{ start: 900, end: 902, text: "x" }];
    writeFileSync(
      at("bad.jsonl"),
      lines(
        short,
        { audio: "long.wav", text: "x" },
        { audio: "long.wav", segments },
        { audio: "long.wav", start: 500, end: 600, text: "y" },
      ),
    );
    const off = await evaluate("--data", at("bad.jsonl"), "--vad", "off", "--json", "--limit", "2");
    expect(off.code).toBe(1);
    expect(errorLines(off)).toEqual([
      expect.stringMatching(
        /long\.wav: prompt: expected at most \d+ s, which fill the model's positions, got \d/,
      ),
    ]);
    expect(edits(result(off))).toMatchObject({ length: 28 });
    writeFileSync(
      at("bad.jsonl"),
      readFileSync(at("bad.jsonl"), "utf8").split("\n").toSpliced(1, 1).join("\n"),
    );
    const run = await evaluate("--data", at("bad.jsonl"), "--json");
    expect(run.code).toBe(1);
    expect(errorLines(run)).toEqual([
      expect.stringMatching(
        /long\.wav: segments: expected times within its 1\d\d\.\d\d s, got 902; name the recording/,
      ),
      expect.stringMatching(/long\.wav: start and end: expected a part of its 1\d\d\.\d\d s, got 500 to 600/),
    ]);
    expect(result(run).summary.groups[0]).toMatchObject({ utterances: 3, failed: 2 });
  }, 240_000);

  it("an STM of a stranger: bad recordings are reported by their lines, the others run", async () => {
    writeFileSync(at("en-seen-1.wav"), readFileSync(clip("en-seen-1.wav")));
    const good = "en-seen-1 1 s 0 2.3 set the oven to eighty two degrees\n";
    writeFileSync(at("strange.stm"), `long 1 s 5 4 a\nnobody 1 s 0 1 a\n${good}../up 1 s 0 1 a\nx 1 s\n`);
    const run = await evaluate("--data", at("strange.stm"), "--json");
    expect(run.code).toBe(1);
    expect(errorLines(run)).toEqual([
      expect.stringMatching(/strange\.stm:1: end: expected more than the start, 5, got 4/),
      expect.stringMatching(/strange\.stm:2: audio: expected one file "nobody"/),
      expect.stringMatching(/strange\.stm:4: file: expected a name without a path/),
      expect.stringMatching(/strange\.stm:5: columns: expected FILE CHANNEL SPEAKER START END TEXT, got 3/),
    ]);
    expect(result(run).summary).toMatchObject({ times: { segments: 1, start: { found: 1 }, missed: null } });
    const elsewhere = await evaluate("--data", at("long.stm"), "--audio", at("none"));
    expect(expectRefusal(elsewhere)).toContain(
      "none: directory: expected a directory with the audio, got none",
    );
  }, 240_000);

  it.each([
    [["--audio", "x", "--data", "y.jsonl"], /'--audio' has an effect only with --data FILE\.stm/],
    [
      ["--compare", "a", "b", "--merge-seconds", "0"],
      /'--merge-seconds' has an effect only with a model that runs/,
    ],
    [["--compare", "a", "b", "--vad", "off"], /'--vad' has an effect only with a model that runs/],
  ])("%j is wrong usage", async (args, message) => {
    const run = await evaluate(...args);
    expect(run).toMatchObject({ code: 2, stdout: "" });
    expect(errorLines(run)).toEqual([expect.stringMatching(message)]);
  });
});
