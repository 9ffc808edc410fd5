import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { Segmenter, type SegmenterOptions, type SpeechSegment, VadError } from "./segmenter.js";

// Plan: FunASR's segments to the millisecond on its probabilities, in four settings, for the whole
// and in pieces of any size; the last two frames of a block of 60 s by the recording's length; what
// ends a segment, one rule each; the earliest begin that is pending; refusals.

interface Clip {
  readonly samples: number;
  readonly segments: Readonly<Record<string, [number, number][]>>;
  readonly silence: string;
}
const path = new URL("../../../test/fixtures/vad/segments.json", import.meta.url);
const clips = Object.entries(JSON.parse(readFileSync(path, "utf8")) as Record<string, Clip>);
const settings: Readonly<Record<string, SegmenterOptions>> = {
  default: {},
  fixed: { maxEndSilenceMs: 800 },
  short: { maxSegmentMs: 30_000 },
  stream: { blockMs: 60 },
};

function silenceOf(clip: Clip): Float32Array {
  return Float32Array.from(inflateSync(Buffer.from(clip.silence, "base64")), (code) => (code + 0.5) / 16);
}

function pairs(segments: readonly SpeechSegment[]): [number, number][] {
  return segments.map(({ startMs, endMs }) => [startMs, endMs]);
}

function segmentsOf(silence: Float32Array, options: SegmenterOptions, samples?: number, piece = Infinity) {
  const segmenter = new Segmenter(options);
  const found: SpeechSegment[] = [];
  for (let at = 0; at < silence.length; at += piece)
    found.push(...segmenter.push(silence.subarray(at, at + piece)));
  return pairs([...found, ...segmenter.end(samples)]);
}

/** Frames of speech (0) and silence (1) by turns, each with a count. */
function turns(...counts: number[]): Float32Array {
  return Float32Array.from(counts.flatMap((count, i) => new Array<number>(count).fill(i % 2)));
}

const table = clips.flatMap(([name, clip]) =>
  Object.keys(clip.segments).map((setting) => [name, setting, clip] as const),
);

test.each(table)("%s, %s: FunASR's segments", (_, setting, clip) => {
  const silence = silenceOf(clip);
  for (const piece of [Infinity, 1, 2, 3, 97])
    expect(segmentsOf(silence, settings[setting], clip.samples, piece)).toEqual(clip.segments[setting]);
});

describe("a segment", () => {
  test.each<[string, Float32Array, SegmenterOptions, [number, number][]]>([
    ["none in silence", turns(0, 500), {}, []],
    ["none in 14 frames of speech", turns(14, 500), {}, []],
    [
      "begins 400 ms before 15 frames of speech are there, not before the audio",
      turns(15, 500),
      {},
      [[0, 310]],
    ],
    ["begins 400 ms before", turns(0, 100, 100, 300), {}, [[740, 2160]]],
    [
      "ends behind 2 s of silence, 100 ms into it",
      turns(100, 210, 100, 400),
      {},
      [
        [0, 1160],
        [2840, 4260],
      ],
    ],
    ["goes on over 1.7 s of silence", turns(100, 170, 100, 400), {}, [[0, 3860]]],
    [
      "ends behind 800 ms where that is asked",
      turns(100, 90, 100, 400),
      { maxEndSilenceMs: 800 },
      [
        [0, 1160],
        [1640, 3060],
      ],
    ],
    ["ends with the audio", turns(100), {}, [[0, 1000]]],
    [
      "is cut where it is too long",
      turns(250),
      { maxSegmentMs: 1000 },
      [
        [0, 1010],
        [1010, 2020],
        [2020, 2500],
      ],
    ],
    ["that begins with the last frame", turns(0, 50, 15), {}, [[240, 650]]],
  ])("%s", (_, silence, options, wanted) => {
    expect(segmentsOf(silence, options)).toEqual(wanted);
  });
});

test("the end of a block of 60 s needs the samples of the next, which shorten the silence that ends a segment", () => {
  const silence = turns(0, 5700, 270, 28); // 5998 frames
  expect(segmentsOf(silence, {}, 959_999)).toEqual([[56_740, 59_980]]);
  expect(segmentsOf(silence, {}, 960_000)).toEqual([[56_740, 59_970]]);
});

test("pendingMs is the begin of the open segment, or the earliest that one may have", () => {
  const segmenter = new Segmenter();
  segmenter.push(turns(0, 102)); // two wait
  expect(segmenter.pendingMs).toBe(600);
  segmenter.push(turns(100));
  expect(segmenter.pendingMs).toBe(760);
  expect(segmenter.open).toEqual({ startMs: 760, endMs: 2000 });
  expect(pairs(segmenter.push(turns(0, 300)))).toEqual([[760, 2180]]);
  expect(segmenter.open).toBeUndefined();
  expect(segmenter.pendingMs).toBe(4600);
});

test("refused: options out of range, probabilities that are none", () => {
  for (const options of [
    { maxEndSilenceMs: -1 },
    { maxEndSilenceMs: 60_001 },
    { maxSegmentMs: NaN },
    { threshold: 1.5 },
    { blockMs: 0 },
  ])
    expect(() => new Segmenter(options)).toThrow(VadError);
  expect(() => new Segmenter().push([0, NaN])).toThrow("probability of frame 1: expected 0 to 1, got NaN");
});
