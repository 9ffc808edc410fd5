import { describe, expect, it } from "vitest";
import type { TimedText } from "../../data/timed-text.js";
import { compareRecords } from "../compare.js";
import type { Heard, HeardSegment } from "../record.js";
import { summarize } from "../summary.js";
import { answersOf, editsInParts, referenceEdits } from "./answers.js";
import { withoutIgnored } from "./ignored.js";
import { coverage, within, without } from "./spans.js";
import { segmentTimes, summarizeTimes } from "./times.js";

const span = (start: number, end: number): { start: number; end: number } => ({ start, end });
const said = (start: number, end: number, text: string): TimedText => ({ start, end, text });

/** A segment whose words take equal times. */
function spoken(start: number, end: number, text: string, more: Partial<HeardSegment> = {}): HeardSegment {
  const words = text.split(" ");
  const step = (end - start) / words.length;
  return {
    start,
    end,
    text,
    words: words.map((word, i) => said(start + i * step, start + (i + 1) * step, word)),
    ...more,
  };
}

function recording(
  reference: readonly TimedText[],
  segments: readonly HeardSegment[],
  more: Partial<Heard> = {},
): Heard {
  return {
    line: 1,
    audio: "long.wav",
    task: "asr",
    reference: reference.map(({ text }) => text).join(" "),
    referenceSegments: reference,
    segments,
    hypothesis: segments.map(({ text }) => text).join(" "),
    tokens: 5,
    finish: "stop",
    audioSeconds: 100,
    seconds: { frontend: 1, encoder: 2, adaptor: 1, prefill: 2, decode: 4, vad: 5 },
    batch: 1,
    ...more,
  };
}

// Plan: seconds covered, membership and differences of spans in the order of time.
describe("spans", () => {
  const covered = coverage([span(1, 3), span(2, 4), span(6, 7)]);
  it.each([
    [0, 0],
    [1, 0],
    [2.5, 1.5],
    [4, 3],
    [5, 3],
    [6.5, 3.5],
    [Infinity, 4],
  ])("up to %f s: %f s", (time, seconds) => expect(covered(time)).toBeCloseTo(seconds, 12));
  it("nothing covers nothing", () => expect(coverage([])(5)).toBe(0));

  const inside = within([span(1, 3), span(6, 7)]);
  it.each([
    [0.5, false],
    [2, true],
    [4, false],
    [6.5, true],
    [8, false],
  ])("%f s: %s", (time, want) => expect(inside(time)).toBe(want));

  it.each([
    [[span(0, 10)], [span(2, 3), span(5, 6)], [span(0, 2), span(3, 5), span(6, 10)]],
    [[span(0, 2), span(4, 6)], [span(1, 5)], [span(0, 1), span(5, 6)]],
    [[span(0, 2)], [span(0, 2)], []],
    [[span(0, 2)], [], [span(0, 2)]],
    [[span(1, 2), span(3, 4)], [span(0, 9)], []],
  ])("%j without %j", (spans, others, want) => expect(without(spans, others)).toEqual(want));
});

// Plan: words whose middle is ignored are left out, by their times or spread over their segment; the
// segment shrinks to what is left.
describe("what is ignored", () => {
  it.each<[string, HeardSegment, HeardSegment[]]>([
    ["nothing of a segment", spoken(0, 4, "a b"), [spoken(0, 4, "a b")]],
    ["a whole segment", spoken(11, 14, "a b"), []],
    [
      "the words at its end",
      spoken(6, 14, "a b c d"),
      [{ start: 6, end: 10, text: "a b", words: [said(6, 8, "a"), said(8, 10, "b")] }],
    ],
    ["Chinese without times of words", said(8, 12, "打开客厅"), [said(8, 10, "打开")]],
    ["English without times of words", said(18, 22, "aa bb cc dd"), [said(20, 22, "cc dd")]],
    ["a text without words", said(11, 12, ""), [said(11, 12, "")]],
  ])("%s", (_, segment, want) => {
    expect(withoutIgnored([segment], [span(10, 20)])).toEqual(want);
  });
});

// Plan: the texts of all segments are aligned as one; edits count for the segments of the reference,
// and answers are those that were heard, wherever the cuts are.
describe("edits", () => {
  const record = recording(
    [said(0, 2, "turn on"), said(3, 5, "the lamp"), said(6, 8, "打开灯")],
    [spoken(0, 5, "turn on the camp now"), spoken(6, 8, "打开")],
  );

  it("by segments of the reference, in units of both scripts", () => {
    const edits = referenceEdits(record, "mixed");
    expect(edits.map((e) => [e.substitutions, e.deletions, e.insertions, e.length])).toEqual([
      [0, 0, 0, 2],
      [1, 0, 1, 2],
      [0, 1, 0, 3],
    ]);
  });

  it("by what was heard", () => {
    const answers = answersOf(record, "mixed");
    expect(answers.map(({ text, columns }) => [text, columns.map(({ kind }) => kind[0]).join("")])).toEqual([
      ["turn on the camp now", "eeeis"],
      ["打开", "eed"],
    ]);
  });

  it("of a text without times: one rate, and an interval over the heard segments", () => {
    const plain = { ...record, referenceSegments: undefined };
    expect(referenceEdits(plain, "mixed")).toHaveLength(1);
    expect(editsInParts(plain, "mixed")).toHaveLength(2);
    const [{ scores }] = summarize([plain], { task: "asr" }).groups;
    const [, mer] = scores;
    expect(mer).toMatchObject({ edits: 3, length: 7 });
    expect(mer.high - mer.low).toBeGreaterThan(0);
  });

  it("an empty reference: all words are inserted", () => {
    expect(referenceEdits(recording([], [spoken(0, 1, "a b")]), "word")).toMatchObject([{ insertions: 2 }]);
  });

  it("a segment that a text form empties takes no column", () => {
    const dots = recording([said(0, 1, "..."), said(2, 3, "a"), said(4, 5, "!")], [spoken(2, 3, "a b")]);
    expect(referenceEdits(dots, "word").map(({ insertions, length }) => [insertions, length])).toEqual([
      [0, 0],
      [1, 1],
      [0, 0],
    ]);
  });

  it("two hours of segments", () => {
    const reference = Array.from({ length: 2400 }, (_, i) =>
      said(3 * i, 3 * i + 2, `number ${i} is said here`),
    );
    const heard = reference.map(({ start, end, text }, i) =>
      spoken(start, end, i % 9 ? text : "other words"),
    );
    const edits = referenceEdits(recording(reference, heard), "word");
    expect(edits.filter((e) => e.substitutions + e.deletions + e.insertions > 0)).toHaveLength(
      Math.ceil(2400 / 9),
    );
  });
});

// Plan: begins and ends are those of the words that were found; without times of words only the
// edges of heard segments have one. Missed and false speech are counted from segments with words,
// outside what is ignored.
describe("times", () => {
  const reference = [said(1, 3, "turn on"), said(5, 7, "the lamp"), said(9, 10, "打开灯")];

  it("of words, wherever the segments are cut", () => {
    const heard = [spoken(1.1, 3.2, "turn on"), spoken(5, 10.3, "the lamp 打开灯 x")];
    const rows = segmentTimes(recording(reference, heard));
    const step = 5.3 / 4;
    expect(rows.map(({ start, end }) => [start?.toFixed(3), end?.toFixed(3)])).toEqual([
      ["0.100", "0.200"],
      ["0.000", (5 + 2 * step - 7).toFixed(3)],
      [(5 + 2 * step - 9).toFixed(3), (5 + 3 * step - 10).toFixed(3)],
    ]);
  });

  it("of segments where words have none; a word that was not found has none", () => {
    const heard = [said(0.9, 7.4, "turn on the camp"), said(9, 10.5, "打开灯")];
    const rows = segmentTimes(recording(reference, heard));
    expect(rows.map(({ start, end }) => [start !== undefined, end !== undefined])).toEqual([
      [true, false],
      [false, false],
      [true, true],
    ]);
    expect(rows[0].start).toBeCloseTo(-0.1, 12);
    expect(rows[2].end).toBeCloseTo(0.5, 12);
  });

  it("missed and false speech", () => {
    const heard = [
      said(0.5, 2, "turn"),
      said(3.5, 4, "hm"),
      said(5, 8, "the lamp"),
      said(8.2, 8.4, ""),
      said(12, 14, "x"),
    ];
    const ignore = [span(7.25, 7.75)];
    const rows = segmentTimes(recording(reference, heard, { ignore }));
    const figures = rows.map(({ missed, falseSpeech }) => [missed, falseSpeech]);
    [
      [1, 1],
      [0, 0.5],
      [1, 2],
    ].forEach((want, i) => want.forEach((value, j) => expect(figures[i][j]).toBeCloseTo(value, 12)));
    const summary = summarizeTimes([recording(reference, heard, { ignore })])!;
    expect(summary).toMatchObject({ clips: 1, segments: 3, speechSeconds: 5 });
    expect(summary.missed).toBeCloseTo(2 / 5, 12);
    expect(summary.falseSpeech).toBeCloseTo(3.5 / 5, 12);
  });

  it("a recording where nobody speaks, and one where nothing was heard", () => {
    expect(summarizeTimes([recording([], [said(2, 4, "hm")])])).toMatchObject({ segments: 0, missed: NaN });
    expect(segmentTimes(recording([], [said(2, 4, "hm")]))).toEqual([
      { seconds: 0, missed: 0, falseSpeech: 2 },
    ]);
    const silent = summarizeTimes([recording(reference, [])])!;
    expect(silent).toMatchObject({ missed: 1, falseSpeech: 0, start: { found: 0, median: NaN } });
  });

  it("a clip that was run whole has times of its words, and no shares", () => {
    const whole = { ...recording(reference, []), segments: undefined };
    const words = spoken(1.5, 3.5, "turn on").words!;
    const rows = segmentTimes({ ...whole, hypothesis: "turn on", words });
    expect(rows[0]).toEqual({ start: 0.5, end: 0.5, seconds: 2 });
    expect(summarizeTimes([{ ...whole, hypothesis: "turn on", words }])).toMatchObject({
      missed: NaN,
      speechSeconds: 0,
    });
  });

  it("none without times in the reference", () => {
    const plain = { ...recording(reference, []), referenceSegments: undefined };
    expect(summarizeTimes([plain])).toBeUndefined();
    expect(summarize([plain], { task: "asr" }).times).toBeUndefined();
  });
});

// Plan: clips that ran in segments count in the time of work alone; each segment is an answer of the
// agreement; two systems are compared by the segments of the reference.
describe("summaries", () => {
  const reference = [said(1, 3, "turn on"), said(5, 7, "the lamp")];
  const heard = (late: number, text = "the lamp"): Heard =>
    recording(reference, [
      spoken(1 + late, 3 + late, "turn on", { agreement: 0.9 }),
      spoken(5 + late, 7 + late, text, { agreement: text === "the lamp" ? 0.8 : 0.3 }),
    ]);

  it("time", () => {
    const { latency } = summarize([heard(0)], { task: "asr" });
    expect(latency!.firstToken.median).toBeNaN();
    expect(latency!.realTime).toMatchObject({ vad: 0.05 });
    expect(latency!.realTime.total).toBeCloseTo(0.15, 12);
  });

  it("agreement", () => {
    const { agreement } = summarize([heard(0, "the camp")], { task: "asr" });
    expect(agreement).toMatchObject({ right: 1, wrong: 1, empty: 0, meanRight: 0.9, meanWrong: 0.3 });
  });

  it("comparison", () => {
    const { metrics } = compareRecords(new Map([[1, heard(0.1)]]), new Map([[1, heard(0.3, "the camp")]]));
    const by = Object.fromEntries(metrics.map((metric) => [metric.name, metric]));
    expect(by.CER.first).toBe(0);
    expect(by.CER.second).toBeCloseTo(1 / 13, 12);
    expect(by["error of begins"]).toMatchObject({ unit: "ms", signature: "segments:2|unit:ms" });
    expect(by["error of begins"].difference).toBeCloseTo(200, 9);
    expect(by["error of ends"].signature).toBe("segments:1|unit:ms");
    expect(by["missed speech"].second).toBeCloseTo(0.15, 12);
    expect(by["false speech"].first).toBeCloseTo(0.05, 12);
    const others = { ...heard(0), referenceSegments: [said(0, 9, "turn on the lamp")] };
    expect(() => compareRecords(new Map([[1, heard(0)]]), new Map([[1, others]]))).toThrow(
      /compare: line 1: expected the same segments of the reference in both, got others; evaluate both/,
    );
  });
});
