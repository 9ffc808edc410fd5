import { expect, test } from "vitest";
import { parseSegments, SegmentFileError } from "./segment-file.js";

// Plan: RTTM and the forms of JSON give the same segments, in the order of time; lines of other
// recordings are left out; each fault is refused by its line.

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
  [
    "an overlap",
    '[{"start": 1, "end": 3},\n{"start": 2, "end": 4}]',
    "x:2: segment: expected a begin after 3 s, the end of the segment before it, got 2 s",
  ],
  ["a reversed one", '[\n{"start": 3, "end": 1}]', "x:2: end: expected more than the start, 3 s, got 1"],
  ["a negative time", '[{"start": -1, "end": 1}]', "x:1: start: expected seconds from 0, got -1"],
  ["a time that is a text", '[{"start": "1", "end": 2}]', 'x:1: start: expected seconds from 0, got "1"'],
  ["no end", '[{"start": 1}]', "x:1: end: expected seconds from 0, got nothing"],
  ["a segment of no length", rttm("talk 1 2 0"), "x:1: duration: expected seconds above 0, got 0"],
  [
    "a negative duration",
    rttm("talk 1 2 1", "talk 1 9 -1"),
    "x:2: duration: expected seconds above 0, got -1",
  ],
  ["a short one", '[{"start": 1, "end": 1.01}]', "x:1: length: expected at least 25 ms, got 10 ms"],
  [
    "a long one",
    '[{"start": 1, "end": 99}]',
    "x:1: length: expected at most 30 s, which fill the model's positions, got 98 s",
  ],
  [
    "another text",
    "hello",
    'x:1: line: expected SPEAKER FILE CHANNEL START DURATION ... (RTTM), or JSON, got "hello"',
  ],
  ["JSON that is cut", '[{"start": 1,', 'x:1: line: expected JSON, got "[{\\"start\\": 1,"'],
  ["a list of numbers", "[1, 2]", "x:1: segment"],
  ["no segment", '{"segments": []}', "x: segments: expected segments of talk, got none"],
  ["another's segments", rttm("a 1 0 1"), 'x: segments: expected segments of talk, got those of "a"'],
  [
    "others' segments",
    rttm("a 1 0 1", "b 1 0 1"),
    'x: segments: expected segments of talk, got those of "a", "b"',
  ],
])("refused: %s", (_, text, message) => {
  expect(() => parseSegments(text, "x", "talk", 30_000)).toThrow(SegmentFileError);
  expect(() => parseSegments(text, "x", "talk", 30_000)).toThrow(message);
});

test("a segment past the audio's end is refused by its line", () => {
  const [segment] = parseSegments('[\n{"start": 1, "end": 5}]', "x", "talk", 30_000);
  expect(() => segment.refuse(4000)).toThrow("x:2: end: expected at most the audio's 4 s, got 5");
});
