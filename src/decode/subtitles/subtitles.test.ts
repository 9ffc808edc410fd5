import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { parse as parseSubtitles } from "subsrt-ts";
import { describe, expect, it, test } from "vitest";
import webvtt from "webvtt-parser";
import { joinTexts } from "../../scripts.js";
import { type Cue, cuesOf, lineText } from "./cues.js";
import { subtitles } from "./formats.js";
import type { TimedSegment } from "./segment.js";
import { oneLine } from "./units.js";
import { tenths } from "./width.js";

const words = (text: string, start: number, each: number): TimedSegment => {
  const all = text.split(" ").map((word, i) => ({
    text: word,
    start: start + i * each,
    end: start + (i + 0.8) * each,
  }));
  return { start, end: all.at(-1)!.end, text, words: all };
};
const textsOf = (cues: readonly Cue[]): string[] => cues.map(({ lines }) => lines.map(lineText).join("\n"));

const lecture: TimedSegment[] = [
  words("Today we look at speech recognition, which turns sound into text. Then we stop.", 0.5, 0.4),
  {
    start: 20,
    end: 26.4,
    text: "今天我们来看语音识别，它把声音变成文字。然后我们休息一下，再继续讲下一个问题。",
  },
  { start: 30, end: 30.4, text: "OK." },
  { start: 3725.25, end: 3727, text: "a <b> & an arrow --> in it" },
];

// Plan: widths by East Asian width; marks and format characters take nothing.
test.each([
  ["", 0],
  ["abc", 30],
  ["语音", 42],
  ["ｆｕｌｌ", 84],
  ["ｶﾅ", 20],
  ["e\u0301", 10],
  ["\u200b", 0],
  ["한국", 42],
])("%j is %i tenths of a column wide", (text, width) => {
  expect(tenths(text)).toBe(width);
});

describe("cues", () => {
  // Plan: known texts. A cue ends at a sentence, a clause or a pause, and lines are even.
  it("end where a reader would end them", () => {
    expect(textsOf(cuesOf(lecture))).toEqual([
      "Today we look at speech recognition,\nwhich turns sound into text.",
      "Then we stop.",
      "今天我们来看语音识别，它把声音变成文字。",
      "然后我们休息一下，再继续讲下一个问题。",
      "OK.",
      "a <b> & an arrow -> in it",
    ]);
  });

  it("have the times of their words, and a second at least", () => {
    const [first, second, , , ok] = cuesOf(lecture);
    expect(first).toMatchObject({ start: 0.5, end: expect.closeTo(4.82, 6) as number });
    expect(second.start).toBeCloseTo(4.9, 6);
    expect(ok).toMatchObject({ start: 30, end: 31 });
  });

  it("spread a text without words by its width", () => {
    const [one, two] = cuesOf([{ start: 10, end: 20, text: "abcd. efghijklmno." }], { maxLineWidth: 12 });
    expect([one.start, one.end, two.start, two.end].map((time) => Number(time.toFixed(3)))).toEqual([
      10, 12.778, 13.333, 20,
    ]);
  });

  it("take words in another case, without their punctuation", () => {
    const segment = { start: 0, end: 9, text: "Hello, World!" };
    const spoken = [
      { text: "hello", start: 1, end: 2 },
      { text: "world", start: 6, end: 7.5 },
    ];
    expect(cuesOf([{ ...segment, words: spoken }]).map(({ start, end }) => [start, end])).toEqual([
      [1, 2],
      [6, 7.5],
    ]);
    const others = [{ text: "moon", start: 1, end: 2 }];
    expect(cuesOf([{ ...segment, words: others }])).toEqual(cuesOf([segment]));
  });

  it("join short segments that follow each other, and no others", () => {
    const yes = (start: number): TimedSegment => ({ start, end: start + 0.4, text: "Yes." });
    expect(textsOf(cuesOf([yes(0), yes(0.45)]))).toEqual(["Yes. Yes."]);
    expect(textsOf(cuesOf([yes(0), yes(2)]))).toEqual(["Yes.", "Yes."]);
    const ja = { start: 0, end: 0.4, text: "はい。" };
    expect(textsOf(cuesOf([ja, { ...ja, start: 0.45, end: 0.9 }]))).toEqual(["はい。はい。"]);
  });

  // Plan: what one grapheme fills beyond the line has a line of its own, and no line is empty.
  it.each([
    ["ᄀ".repeat(30), 42],
    ["👨‍👩‍👧‍👦".repeat(2), 10],
    ["👩‍👩‍👧‍👦‍👦‍👦", 10],
    [`a ${"ᄀ".repeat(30)} b`, 42],
  ])("%s has no empty line at %i columns", (text, maxLineWidth) => {
    for (const maxLines of [1, 2]) {
      const cues = cuesOf([{ start: 0, end: 3, text }], { maxLineWidth, maxLines });
      for (const line of cues.flatMap(({ lines }) => lines.map(lineText))) expect(line).not.toBe("");
      expect(textsOf(cues).join("").replaceAll(/\s/g, "")).toBe(text.replaceAll(" ", ""));
    }
  });

  // Plan: between segments stands what stands between them in the text.
  it.each([[["你好。", "Hello"]], [["สวัสดี", "ครับ"]], [["ㄅㄆ", "ㄇㄈ"]], [["Hello，", "world"]]])(
    "%j are joined as in the text",
    (texts) => {
      const segments = texts.map((text, i) => ({ start: i / 2, end: i / 2 + 0.4, text }));
      expect(textsOf(cuesOf(segments))).toEqual([joinTexts(texts)]);
    },
  );

  it("are nothing for silence", () => {
    expect(cuesOf([])).toEqual([]);
    expect(cuesOf([{ start: 0, end: 3, text: " \n" }])).toEqual([]);
  });
});

const wide = "ᄀ".repeat(30); // one grapheme, wider than a line
const vocabulary = ["I", "see", "recognition,", "mañana.", "语", "音识别", "，", "。", "สวัสดี", "漢字かな", "(so", "well-known", "x".repeat(60), "e\u0301", "“yes”", "-->", "\t", "🎤", "—", "Hello，", "ครับ", "ㄅㄆ", wide]; // prettier-ignore
const anySegments = fc
  .array(
    fc.record({
      text: fc.array(fc.constantFrom(...vocabulary), { maxLength: 40 }),
      glue: fc.constantFrom("", " "),
      pause: fc.constantFrom(0, 0.1, 0.7, 5),
      seconds: fc.double({ min: 0.05, max: 40, noNaN: true }),
      timed: fc.boolean(),
    }),
    { maxLength: 5 },
  )
  .map((parts) => {
    let at = 0;
    return parts.map(({ text, glue, pause, seconds, timed }): TimedSegment => {
      const start = (at += pause);
      at += seconds;
      const each = seconds / Math.max(1, text.length);
      const spoken = text.map((word, i) => ({
        text: word,
        start: start + i * each,
        end: start + (i + 1) * each,
      }));
      return { start, end: at, text: text.join(glue), ...(timed ? { words: spoken } : {}) };
    });
  });

// Plan: laws for any segments: the bounds of a cue, the order of times, no character lost, the spaces those of the text.
it("any segments keep the bounds of cues, in order, with all of the text", () => {
  fc.assert(
    fc.property(anySegments, fc.constantFrom(12, 42), fc.constantFrom(1, 2, 3), (segments, columns, most) => {
      const cues = cuesOf(segments, { maxLineWidth: columns, maxLines: most });
      for (const [i, { start, end, lines }] of cues.entries()) {
        const next = cues.at(i + 1)?.start ?? Infinity;
        expect(lines.length).toBeLessThanOrEqual(most);
        for (const line of lines) {
          expect(lineText(line)).not.toBe("");
          if (lineText(line).includes("ᄀ") && line.length === 1) continue; // it cannot be cut
          expect(tenths(lineText(line))).toBeLessThanOrEqual(10 * columns);
        }
        expect(end - start).toBeLessThanOrEqual(7 + 1e-9);
        expect(end).toBeLessThanOrEqual(next);
        expect(end - start >= 1 - 1e-9 || end === next).toBe(true);
      }
      const parts = cues.flatMap(({ lines }) => lines.flat());
      const texts = segments.map(({ text }) => oneLine(text)).filter((text) => text !== "");
      expect(parts.map(({ text, joint }) => text + joint).join("")).toBe(joinTexts(texts));
    }),
    { numRuns: Number(process.env.FUZZ ?? 200) },
  );
});

const firstSrt = "1\n00:00:00,500 --> 00:00:04,820\nToday we look at speech recognition,\nwhich turns sound into text.\n\n2\n00:00:04,900 --> 00:00:06,020\n"; // prettier-ignore

describe("formats", () => {
  it("srt", () => {
    const text = subtitles(lecture, "srt");
    expect(text.startsWith(firstSrt)).toBe(true);
    expect(text).toContain("\n6\n01:02:05,250 --> 01:02:07,000\na <b> & an arrow -> in it\n");
  });

  it("vtt, with times of words where asked for", () => {
    const text = subtitles(lecture, "vtt", { wordTimes: true });
    expect(text.startsWith("WEBVTT\n\n00:00:00.500 --> 00:00:04.820\nToday <00:00:00.900>we ")).toBe(true);
    expect(text).toContain("\na &lt;b&gt; &amp; an arrow -&gt; in it\n");
    expect(subtitles(lecture, "vtt")).not.toContain("<");
  });

  it("lrc", () => {
    const [by, first] = subtitles(lecture, "lrc").split("\n");
    expect(by).toBe("[by:funasr-webgpu]");
    expect(first).toBe("[00:00.50]Today we look at speech recognition, which turns sound into text.");
    expect(subtitles(lecture, "lrc", { wordTimes: true })).toContain("[00:04.90]<00:04.90>Then <00:05.30>we");
    expect(subtitles(lecture, "lrc")).toContain("\n[62:05.25]a <b>");
  });

  it("tsv and txt have a line a segment", () => {
    const two = [lecture[2], { start: 31, end: 32, text: "a\tb\r\nc" }];
    expect(subtitles(two, "tsv")).toBe("start\tend\ttext\n30000\t30400\tOK.\n31000\t32000\ta b c\n");
    expect(subtitles(two, "txt")).toBe("OK.\na b c\n");
  });
});

// Plan: parsers of other people read back the cues. WebVTT's validator has no complaint.
describe("other programs read", () => {
  const wanted = cuesOf(lecture).map(({ start, end, lines }) => ({
    start: Math.round(1000 * start),
    end: Math.round(1000 * end),
    text: lines.map(lineText).join("\n"),
  }));
  const read = (text: string, format: string): { start: number; end: number; text: string }[] =>
    parseSubtitles(text, { format })
      .filter((part) => part.type === "caption")
      .map((part) => ({
        start: part.start,
        end: part.end,
        text: part.content.replaceAll("\r\n", "\n").trimEnd(),
      }));

  it("srt, by subsrt-ts", () => {
    expect(read(subtitles(lecture, "srt"), "srt")).toEqual(wanted);
  });

  it("lrc, by subsrt-ts", () => {
    const times = read(subtitles(lecture, "lrc"), "lrc").map(({ start, text }) => ({ start, text }));
    const lines = cuesOf(lecture).map((cue) => lineText(cue.lines.flat()));
    const hundredths = wanted.map(({ start }) => 10 * Math.round(start / 10));
    expect(times).toEqual(lines.map((text, i) => ({ start: hundredths[i], text })));
  });

  it.each([false, true])("vtt, by webvtt-parser, times of words %s", (wordTimes) => {
    const { errors, cues } = new webvtt.WebVTTParser().parse(
      subtitles(lecture, "vtt", { wordTimes }),
      "subtitles",
    );
    expect(errors).toEqual([]);
    expect(cues.map((cue) => [Math.round(1000 * cue.startTime), Math.round(1000 * cue.endTime)])).toEqual(
      wanted.map(({ start, end }) => [start, end]),
    );
    if (!wordTimes) expect(cues.at(-1)!.text).toBe("a &lt;b&gt; &amp; an arrow -&gt; in it");
  });

  const ffmpeg = spawnSync("ffmpeg", ["-version"]).status === 0;
  it.skipIf(!ffmpeg).each(["srt", "vtt"] as const)(
    `%s, by ffmpeg${ffmpeg ? "" : ": NOT TESTED, ffmpeg is not installed"}`,
    (format) => {
      const input = subtitles(lecture.slice(0, 3), format);
      const demuxer = format === "vtt" ? "webvtt" : "srt";
      const args = ["-v", "error", "-f", demuxer, "-i", "-", "-f", "srt", "-"];
      const run = spawnSync("ffmpeg", args, { input, encoding: "utf8" });
      expect(run.stderr).toBe("");
      expect(read(run.stdout, "srt")).toEqual(wanted.slice(0, -1));
    },
  );
});

test.each([
  [{ maxLineWidth: 2 }, "subtitles: maxLineWidth: expected a whole number from 10 to 200, got 2"],
  [{ maxLineWidth: NaN }, "subtitles: maxLineWidth: expected a whole number from 10 to 200, got NaN"],
  [{ maxLineWidth: 201 }, "got 201"],
  [{ maxLines: 0 }, "subtitles: maxLines: expected a whole number from 1 to 10, got 0"],
  [{ maxLines: 1.5 }, "got 1.5"],
])("%j is refused", (options, message) => {
  for (const format of ["srt", "vtt", "lrc"] as const)
    expect(() => subtitles(lecture, format, options)).toThrow(message);
});
