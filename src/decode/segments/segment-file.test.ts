import { expect, test } from "vitest";
import { parseSegments, SegmentFileError } from "./segment-file.js";

// Plan: RTTM and the forms of JSON give the same segments, in the order of time, in every encoding;
// lines of other recordings are left out; each fault is refused by its line or its place in JSON,
// with what helps.

const wanted = [
  [500, 2000],
  [2500, 4000],
];

const rttm = (...lines: string[]): string =>
  lines.map((line) => `SPEAKER ${line} <NA> <NA> speech <NA> <NA>`).join("\n");

test.each([
  ["RTTM", `;; a comment\n${rttm("talk 1 2.5 1.5", "talk 1 0.500 1.500")}\n`],
  ["RTTM of several recordings", rttm("other 1 0 9", "talk 1 0.5 1.5", "talk 1 2.5 1.5")],
  ["a list", '[{"start": 0.5, "end": 2}, {"start": 2.5, "end": 4}]'],
  [
    "an object",
    '{"file": "a/talk.wav",\n "segments": [{"start": 0.5, "end": 2, "text": "a"}, {"start": 2.5, "end": 4}]}',
  ],
  ["an object a line", '{"start": 0.5, "end": 2}\n\n{"start": 2.5, "end": 4}\n'],
  [
    "two recordings",
    '{"file": "b.wav", "segments": [{"start": 0, "end": 9}]}\n{"file": "talk.mp3", "segments": [{"start": 0.5, "end": 2}, {"start": 2.5, "end": 4}]}',
  ],
])("%s", (_, text) => {
  expect(parseSegments(text, "x", "talk", 30_000).map(({ startMs, endMs }) => [startMs, endMs])).toEqual(
    wanted,
  );
});

test.each([
  ["the mark of UTF-8", (text: string) => Buffer.from(`\ufeff${text}`)],
  ["UTF-16, little end first", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le")],
  ["UTF-16, big end first", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
  ["a mark in a text", (text: string) => `\ufeff${text}`],
  ["ends of lines of Windows", (text: string) => Buffer.from(text.replaceAll("\n", "\r\n"))],
])("%s", (_, bytes) => {
  for (const text of [
    `${rttm("talk 1 0.5 1.5", "talk 1 2.5 1.5")}\n`,
    '[{"start": 0.5, "end": 2},\n{"start": 2.5, "end": 4}]\n',
    '{"start": 0.5, "end": 2}\n{"start": 2.5, "end": 4}\n',
  ])
    expect(parseSegments(bytes(text), "x", "talk").map(({ startMs, endMs }) => [startMs, endMs])).toEqual(
      wanted,
    );
});

test.each([
  ["other types of RTTM", `SPKR-INFO talk 1 <NA> <NA> <NA> unknown a <NA>\n${rttm("talk 1 0.5 1.5")}`],
  ["a recording with its ending in RTTM", rttm("talk.wav 1 0.5 1.5")],
  ["a name with a dot that is an ending elsewhere", rttm("talk 1 0.5 1.5", "talk.v2 1 1 1")],
  [
    "clips that failed",
    '{"file": "b.wav", "error": {}}\n{"file": "talk.wav", "segments": [{"start": 0.5, "end": 2}]}',
  ],
])("%s", (_, text) => {
  expect(parseSegments(text, "x", "talk.wav").map(({ startMs, endMs }) => [startMs, endMs])).toEqual([
    [500, 2000],
  ]);
});

// Plan: lines of other channels are left out, in RTTM and in JSON, where both sides name one.
const stereo = rttm("talk 1 0.5 1.5", "talk 2 1 2", "talk <NA> 9 1");
const channels = JSON.stringify([
  { file: "talk.wav", channel: 1, segments: [{ start: 0.5, end: 2 }] },
  { file: "talk.wav", channel: 2, segments: [{ start: 1, end: 3 }] },
  { file: "talk.wav", start: 9, end: 10 },
]);
test.each([
  ["RTTM", stereo],
  ["JSON", channels],
])("channels of %s", (_, text) => {
  const times = (channel?: number): number[] =>
    parseSegments(text, "x", "talk", Infinity, channel).flatMap(({ startMs, endMs }) => [startMs, endMs]);
  expect(times(1)).toEqual([500, 2000, 9000, 10_000]);
  expect(times(2)).toEqual([1000, 3000, 9000, 10_000]);
  expect(times(3)).toEqual([9000, 10_000]);
  expect(() => times()).toThrow("expected a begin from 2 s on");
});

test("a channel without segments is refused by those that the file has", () => {
  const text = rttm("talk 2 0.5 1.5");
  expect(parseSegments(text, "x", "talk")).toHaveLength(1);
  expect(() => parseSegments(text, "x", "talk", Infinity, 1)).toThrow(
    "x: segments: expected segments of channel 1 of talk, got those of channel 2; ask for a channel that the file has",
  );
});

const remedy = "give the time in seconds from the recording's begin";
test.each([
  [
    "an overlap",
    '[{"start": 1, "end": 3},\n{"start": 2, "end": 4}]',
    "x: [1].start: expected a begin from 3 s on, the end of the segment before it, got 2 s; let one end where the other begins, or join the two",
  ],
  [
    "an overlap in RTTM",
    rttm("talk 1 2 2", "talk 1 1 2"),
    "x:1: start: expected a begin from 3 s on, the end of the segment before it, got 2 s; let one end",
  ],
  [
    "a reversed one",
    '[\n{"start": 3, "end": 1}]',
    "x: [0].end: expected more than the start, 3 s, got 1; swap them, or remove the segment",
  ],
  [
    "a negative time",
    '[{"start": -1, "end": 1}]',
    `x: [0].start: expected seconds from 0, got -1; ${remedy}`,
  ],
  [
    "a time that is a text",
    '{"segments": [{"start": 1, "end": 2}, {"start": "1", "end": 2}]}',
    `x: segments[1].start: expected seconds from 0, got "1"; ${remedy}`,
  ],
  ["no end", '[{"start": 1}]', `x: [0].end: expected seconds from 0, got nothing; ${remedy}`],
  [
    "no end on a line",
    '{"start": 0, "end": 1}\n{"segments": [{"start": 1, "end": null}]}',
    `x:2: segments[0].end: expected seconds from 0, got null; ${remedy}`,
  ],
  ["hours of years", '[{"start": 1e7, "end": 2e7}]', "x: [0].start: expected seconds from 0, got 10000000"],
  [
    "a segment of no length",
    rttm("talk 1 2 0"),
    "x:1: duration: expected seconds above 0, got 0; correct it, or remove the segment",
  ],
  [
    "a negative duration",
    rttm("talk 1 2 1", "talk 1 9 -1"),
    "x:2: duration: expected seconds above 0, got -1",
  ],
  ["NaN in RTTM", rttm("talk 1 NaN 1"), 'x:1: start: expected seconds, got "NaN"; give it in seconds'],
  ["hours in RTTM", rttm("talk 1 0:01 1"), 'x:1: start: expected seconds, got "0:01"'],
  ["no duration in RTTM", rttm("talk 1 1 <NA>"), 'x:1: duration: expected seconds, got "<NA>"'],
  [
    "a short one",
    '[{"start": 1, "end": 1.01}]',
    "x: [0]: expected a length of at least 0.025 s, got 0.01 s; lengthen it, or remove the segment",
  ],
  [
    "a long one",
    '[{"start": 1, "end": 99}]',
    "x: [0]: expected a length of at most 30 s, which fill the model's positions, got 98 s; cut it in two",
  ],
  [
    "another text",
    "hello",
    'x:1: line: expected SPEAKER FILE CHANNEL START DURATION ... (RTTM), or JSON with segments of { start, end } in seconds, got "hello"; correct the line, or remove it',
  ],
  [
    "JSON that is cut",
    '[{"start": 1,',
    "x:1: content: expected JSON, got a line that ends too early; correct",
  ],
  [
    "JSON over several lines that is cut",
    '[\n{"start": 1, "end": 2},\n{"start": 3,\n\n',
    "x:3: content: expected JSON, got a line that ends too early; correct",
  ],
  ["NaN in JSON", '[{"start": NaN, "end": 2}]', "content: expected JSON, got Unexpected token"],
  [
    "a line of JSON with a fault",
    '{"start": 1, "end": 2}\n{"start": 3 "end": 4}',
    "x:2: content: expected JSON, got Expected ',' or '}'",
  ],
  [
    "a list of numbers",
    "[1, 2]",
    'x: [0]: expected { "start": SECONDS, "end": SECONDS }, got 1; write each segment so, or remove it',
  ],
  ["segments that are none", '{"segments": 3}', "x: segments: expected a list, got 3; write [ ... ] there"],
  ["no segment", '{"segments": []}', "x: segments: expected segments of talk, got none; write one a line"],
  ["an empty file", "", "x: segments: expected segments of talk, got none; write one a line"],
  [
    "another's segments",
    rttm("a 1 0 1"),
    'x: segments: expected segments of talk, got those of "a"; name the recording as the file does',
  ],
  [
    "others' segments",
    rttm("a 1 0 1", "b 1 0 1", "c 1 0 1", "d 1 0 1"),
    'x: segments: expected segments of talk, got those of "a", "b", "c" and others; name',
  ],
])("refused: %s", (_, text, message) => {
  expect(() => parseSegments(text, "x", "talk", 30_000)).toThrow(SegmentFileError);
  expect(() => parseSegments(text, "x", "talk", 30_000)).toThrow(message);
});

test.each([
  ["bytes of a sound", Buffer.from([0x52, 0x49, 0x46, 0x46, 0xff, 0x80, 0x01])],
  ["zeros", Buffer.alloc(100)],
  ["UTF-16 without its mark", Buffer.from("SPEAKER talk", "utf16le")],
])("refused: %s", (_, bytes) => {
  expect(() => parseSegments(bytes, "x", "talk")).toThrow(
    "x: text: expected UTF-8, got other bytes; save it",
  );
});

test("JSON over several lines is refused by the line of the fault", () => {
  const text = `[\n${'{"start": 1, "end": 2},\n'.repeat(20)}{"start": 3 "end": 4}\n]`;
  expect(() => parseSegments(text, "x", "talk")).toThrow(/^x:22: content: expected JSON/);
});

test("a segment past the audio's end is refused by its place", () => {
  const [segment] = parseSegments('[\n{"start": 1, "end": 5}]', "x", "talk", 30_000);
  expect(() => segment.refuse!(4000)).toThrow(
    "x: [0].end: expected at most the audio's 4 s, got 5; let it end with the audio",
  );
  expect(() => segment.refuse!(1000)).toThrow("got 5; remove the segment, or name its recording");
});
