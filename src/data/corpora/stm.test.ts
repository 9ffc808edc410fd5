import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { wav } from "../../../test/helpers/wav.js";
import type { CorpusOptions, Found } from "./corpus.js";
import { parseStmLine, stmText } from "./stm-line.js";
import { stm } from "./stm.js";

const root = mkdtempSync(join(tmpdir(), "funasr-stm-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (...names: string[]): string => join(root, ...names);
mkdirSync(at("audio"));
for (const name of ["talk.wav", "call.flac", "twice.wav", "twice.mp3", "long.sph", "other.txt"])
  writeFileSync(at("audio", name), "audio");
writeFileSync(at("audio", "short.wav"), wav(2, 1));

async function read(content: string | Uint8Array, options: CorpusOptions = {}): Promise<Found[]> {
  writeFileSync(at("x.stm"), content);
  return all(at("x.stm"), { audio: at("audio"), ...options });
}

async function all(path: string, options: CorpusOptions): Promise<Found[]> {
  const found: Found[] = [];
  for await (const one of stm.read(path, options)) found.push(one);
  return found;
}

/** What is skipped of an STM, as LINE: WHY. */
async function faults(content: string): Promise<string[]> {
  return (await read(content)).map((one) =>
    "skipped" in one ? `${one.skipped.slice(at("x.stm").length + 1)}: ${one.why}` : "an utterance",
  );
}

// Plan: the words of a transcript as NIST and TED-LIUM write them.
describe("the words of a transcript", () => {
  test.each([
    ["i've { um / uh / @ } as far", "i've um as far"],
    ["{ @ / uh } yes", "yes"],
    ["a { b { c / d } / e } f", "a b c f"],
    ["a { b / c { d / e } f } g", "a b g"],
    ["{um/uh} no", "no"],
    ["{SMACK} <sil> for(2) the [noise] people <unk>", "for the people"],
    ["i am a (farmer) (%hesitation) (AaronHuey_2010X-223.12-232.68-F0_F-S27)", "i am a"],
    ["打开 客厅 的 灯", "打开客厅的灯"],
    ["a / b @ c", "a / b @ c"],
    ["", ""],
    ["{ a / b", undefined],
    ["a / b }", undefined],
  ])("%j is %j", (transcript, text) => expect(stmText(transcript)).toBe(text));

  test("a line of nested alternations takes time that grows with its length", () => {
    const deep = 200_000;
    expect(stmText(`${"{ a ".repeat(deep)}${"/ b } ".repeat(deep)}`)!.length).toBe(2 * deep - 1);
  });
});

// Plan: each line is a record, a comment or a fault that names the column.
describe("a line", () => {
  test.each([
    ["2345 A 2345-b 2.10 3.04 dog walking", { recording: "2345", channel: "A", start: 2.1, end: 3.04 }],
    ["  t\t1\ts  0 1e1   <O,F,00>  hello  there ", { text: "hello there", end: 10, ignored: false }],
    ["t 1 s 0 1 IGNORE_TIME_SEGMENT_IN_SCORING", { text: "", ignored: true }],
    ["t 1 s 0 1 <o,,unknown> ignore_time_segment_in_scoring", { text: "", ignored: true }],
    ["t 1 inter_segment_gap 4 4", { text: "", ignored: true }],
    ["t 1 s 3 4", { text: "", ignored: false }],
    [';; LABEL "M" "Male" "Male Talkers"', undefined],
    ["", undefined],
    [
      "t 1 s 0",
      { why: "columns: expected FILE CHANNEL SPEAKER START END TEXT, got 4; correct the line, or remove it" },
    ],
    [
      "t",
      { why: "columns: expected FILE CHANNEL SPEAKER START END TEXT, got 1; correct the line, or remove it" },
    ],
    [
      "../t 1 s 0 1 a",
      { why: 'file: expected a name without a path, got "../t"; name its directory with --audio' },
    ],
    [
      "t 1 s x 1 a",
      { why: 'start: expected seconds from 0 to 10000000, got "x"; give it in seconds, as 2.5' },
    ],
    [
      "t 1 s -1 1 a",
      { why: 'start: expected seconds from 0 to 10000000, got "-1"; give it in seconds, as 2.5' },
    ],
    [
      "t 1 s 0 1e9 a",
      { why: 'end: expected seconds from 0 to 10000000, got "1e9"; give it in seconds, as 2.5' },
    ],
    [
      "t 1 s 0 NaN a",
      { why: 'end: expected seconds from 0 to 10000000, got "NaN"; give it in seconds, as 2.5' },
    ],
    [
      "t 1 s 5 4 a",
      { why: "end: expected more than the start, 5, got 4; correct the times, or remove the line" },
    ],
    [
      "t 1 s 5 5 a",
      { why: "end: expected more than the start, 5, got 5; correct the times, or remove the line" },
    ],
    [
      "t 1 s 5 6 { a / b",
      {
        why: 'text: expected each { of an alternation with its }, got "{ a / b"; write { a / b }, or one of them',
      },
    ],
  ])("%j", (line, want) => {
    if (want === undefined) expect(parseStmLine(line)).toBeUndefined();
    else expect(parseStmLine(line)).toMatchObject(want);
  });
});

// Plan: a recording is one utterance, with its segments by time and what is ignored; each channel
// has its own.
describe("recordings", () => {
  test("segments in the order of time, text joined, gaps ignored", async () => {
    const found = await read(
      ";; comment\n\ntalk near s 4 6.5 打开 灯\ntalk near s 0.5 2 <o> hello there\r\n" +
        "talk near inter_segment_gap 2.00 4.00 ignore_time_segment_in_scoring\ntalk near s 7 9 吧\ntalk near s 9 9.5",
      { prompt: "P" },
    );
    expect(found).toEqual([
      {
        utterance: {
          audio: at("audio/talk.wav"),
          prompt: "P",
          text: "hello there 打开灯吧",
          segments: [
            { start: 0.5, end: 2, text: "hello there" },
            { start: 4, end: 6.5, text: "打开灯" },
            { start: 7, end: 9, text: "吧" },
          ],
          ignore: [{ start: 2, end: 4 }],
        },
      },
    ]);
  });

  test("channels A and B, a name with its extension, times that touch", async () => {
    const found = await read("call A a 0 2.01 x\ncall B b 1 2 y\ncall A a 2 3 z\nshort.wav 1 s 0 2 w\n");
    expect(found).toMatchObject([
      { utterance: { audio: at("audio/call.flac"), channel: 1, text: "x z" } },
      { utterance: { audio: at("audio/call.flac"), channel: 2, text: "y" } },
      { utterance: { audio: at("audio/short.wav"), channel: 1, text: "w" } },
    ]);
  });

  test("a directory of STM files, beside the audio", async () => {
    for (const name of ["b.stm", "a.stm"]) writeFileSync(at("audio", name), "talk 1 s 0 1 x\n");
    expect(await all(at("audio"), {})).toHaveLength(2);
    await expect(all(root, { audio: at("none") })).rejects.toThrow(
      /none: directory: expected a directory with the audio, got none; name it with --audio/,
    );
    mkdirSync(at("empty"));
    await expect(all(at("empty"), {})).rejects.toThrow(/expected files \*\.stm, got none/);
  });
});

// Plan: a recording with a line that is wrong is skipped by that line, the others stay; a file that
// is none is refused.
describe("bad input", () => {
  test.each([
    ["talk 1 s 0 2 a\ntalk 1 s 3\ntalk 1 s 5 4 b\nshort 1 s 0 1 x", /^2: columns: .* got 4/],
    [
      "talk 1 s 0 2 a\ntalk 1 s 1.9 3 b\nshort 1 s 0 1 x",
      /^2: start: expected 2, the end of line 1, or more, got 1\.9; mark/,
    ],
    ["talk 1 s 1 9 a\ntalk 1 s 2 3 b\ntalk 1 s 8 9 c\nshort 1 s 0 1 x", /^2: start: expected 9/],
    [
      "talk 1 s 0 2 a\ntalk 1 s 1 1.5 ignore_time_segment_in_scoring\nshort 1 s 0 1 x",
      /^2: start: expected 2/,
    ],
    [
      "talk near s 0 2 a\ntalk far s 1 1.5 b\nshort 1 s 0 1 x",
      /^1: channel: expected 1, 2, … or A, B, …, got "near"; number the channels/,
    ],
    [
      "nobody 1 s 0 2 a\nshort 1 s 0 1 x",
      /^1: audio: expected one file "nobody" .*, got none; name its directory/,
    ],
    ["long 1 s 0 2 a\nshort 1 s 0 1 x", /^1: audio: .* convert NIST SPHERE/],
    ["twice 1 s 0 2 a\nshort 1 s 0 1 x", /^1: audio: .*, got twice\.mp3, twice\.wav; leave one/],
    [
      "short 2 s 0 1 x\nshort 1 s 0 9 x\ntalk 1 s 0 1 x",
      /^2: end: expected at most the 2\.00 s of short\.wav, got 9; name the recording/,
    ],
  ])("%j", async (content, message) => {
    const [first, ...rest] = await faults(content);
    expect(first).toMatch(message);
    expect(rest).toEqual(["an utterance"]);
  });

  test.each([
    ["", /content: expected lines of FILE CHANNEL SPEAKER START END TEXT, got none/],
    [";; nothing\n", /content: expected lines/],
    [new Uint8Array([0x74, 0x20, 0xc4, 0xe3, 0xba, 0xc3, 10]), /x\.stm:1: line: expected UTF-8/],
    [`talk 1 s 0 1 ${"a".repeat(1 << 20)}`, /x\.stm:1: line: expected at most 1048576 bytes/],
  ])("%#: a file that is no STM", async (content, message) => {
    await expect(read(content)).rejects.toThrow(message);
  });

  test("a file of gigabytes is refused by its size", async () => {
    writeFileSync(at("huge.stm"), "");
    truncateSync(at("huge.stm"), 2 ** 33);
    await expect(all(at("huge.stm"), { audio: at("audio") })).rejects.toThrow(
      /huge\.stm: size: expected at most 268435456 bytes, got 8589934592; split it/,
    );
  });

  test("a recording whose reference is no line of JSONL", async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `talk 1 s ${i} ${i + 1} ${"word ".repeat(10)}`);
    expect(await faults(lines.join("\n"))).toEqual([
      expect.stringMatching(/^1: recording: expected at most 1048576 bytes of reference, got more; split it/),
    ]);
  });
});
