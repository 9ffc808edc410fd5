import { describe, expect, it } from "vitest";
import { lowbias32 } from "../../hash.js";
import { agreement } from "./agreement.js";
import type { Emissions } from "./viterbi.js";
import { type Piece, type Word, alignWords } from "./words.js";

const encoder = new TextEncoder();
const clip = { frameSeconds: 0.06, seconds: 100 };

/** Pieces of a text from its tokens, and columns by the tokens' spelling; column 0 is the blank. */
function spelled(tokens: readonly string[]): { text: string; pieces: Piece[]; column: Map<string, number> } {
  const column = new Map([...new Set(tokens)].map((token, i) => [token, i + 1]));
  let at = 0;
  const pieces = tokens.map((token) => {
    const begin = at;
    at += encoder.encode(token).length;
    return { column: column.get(token)!, begin, end: at };
  });
  return { text: tokens.join(""), pieces, column };
}

/** Emissions where each frame is sure of one column. */
function sure(columns: number, path: readonly number[]): Emissions {
  const other = Math.log(0.01 / (columns - 1));
  const data = new Float32Array(path.length * columns).fill(other);
  path.forEach((column, t) => (data[t * columns + column] = Math.log(0.99)));
  return { data, frames: path.length, columns, blank: 0 };
}

function words(tokens: readonly string[], path: readonly number[], seconds = clip.seconds): readonly Word[] {
  const { text, pieces, column } = spelled(tokens);
  const result = alignWords(text, pieces, sure(column.size + 2, path), { ...clip, seconds });
  if ("failure" in result) throw new Error(result.failure);
  return result.words;
}

function times(list: readonly Word[]): unknown[] {
  return list.map(({ text, start, end }) => [text, start, end]);
}

// Plan: words, characters and numbers get the frames of their tokens; tokens that span several
// units are shared; the order and the bounds of random alignments; the failures.
describe("alignWords", () => {
  it.each([
    [
      "words of one and of two tokens",
      ["turn", " on", " lam", "p"],
      [0, 1, 1, 0, 2, 3, 0, 4, 0],
      [
        ["turn", 0.06, 0.18],
        ["on", 0.24, 0.3],
        ["lamp", 0.3, 0.48],
      ],
    ],
    [
      "a token of two characters",
      ["打开", "灯"],
      [1, 1, 0, 2],
      [
        ["打", 0, 0.06],
        ["开", 0.06, 0.12],
        ["灯", 0.18, 0.24],
      ],
    ],
    [
      "equal neighbours",
      ["three", " three", " three"],
      [1, 2, 2, 0, 2],
      [
        ["three", 0, 0.06],
        ["three", 0.06, 0.18],
        ["three", 0.24, 0.3],
      ],
    ],
    [
      "punctuation, which takes no time",
      ["yes", ",", " no", "."],
      [1, 0, 2, 0, 3, 0, 0, 4],
      [
        ["yes,", 0, 0.06],
        ["no.", 0.24, 0.3],
      ],
    ],
    [
      "a number that is spelled as it is spoken",
      [" in", " 2", "5", " days"],
      [1, 2, 2, 3, 0, 4],
      [
        ["in", 0, 0.06],
        ["25", 0.06, 0.24],
        ["days", 0.3, 0.36],
      ],
    ],
  ] as const)("gives times to %s", (_, tokens, path, expected) => {
    expect(times(words(tokens, path))).toEqual(expected);
  });

  it("joins the tokens of one character, and never cuts a character", () => {
    const { text } = spelled(["灯亮"]);
    const pieces = [
      [1, 0, 2],
      [2, 2, 4],
      [3, 4, 6],
    ].map(([column, begin, end]) => ({ column, begin, end }));
    const result = alignWords(text, pieces, sure(4, [1, 2, 2, 0, 3]), clip);
    expect("words" in result && times(result.words)).toEqual([
      ["灯", 0, 0.12],
      ["亮", 0.12, 0.3],
    ]);
  });

  it.each([
    [
      "between words",
      ["wait", " 25", " days"],
      [1, 4, 4, 0, 4, 0, 3, 3],
      [
        ["wait", 0, 0.06],
        ["25", 0.06, 0.3],
        ["days", 0.36, 0.48],
      ],
    ],
    [
      "at the start, with silence before it",
      ["25", "天"],
      [0, 0, 3, 3, 2],
      [
        ["25", 0.12, 0.24],
        ["天", 0.24, 0.3],
      ],
    ],
    [
      "and another one",
      ["5", " ", "6", " x"],
      [5, 5, 5, 5, 0, 4],
      [
        ["5", 0, 0.12],
        ["6", 0.12, 0.24],
        ["x", 0.3, 0.36],
      ],
    ],
  ] as const)(
    "aligns a number that is spoken in other words as one word: %s",
    (_, tokens, path, expected) => {
      const list = words(tokens, path); // the last column is what was said
      expect(times(list)).toEqual(expected);
      for (const { confidence } of list) expect(confidence).toBeGreaterThan(0.9);
    },
  );

  it("has a low confidence in a word that was not said", () => {
    const [yes, no] = words(["yes", " no"], [1, 0, 3, 0]);
    expect(yes.confidence).toBe(0.99);
    expect(no.confidence).toBeLessThan(0.01);
  });

  it("gives ordered words of some length inside the clip, whatever the audio says", () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = (i: number): number => lowbias32((lowbias32(seed) + i) >>> 0) / 2 ** 32;
      const alphabet = ["a", " b", "打开门", " 7", "，", "了", " cd", "3.5", "."];
      const tokens = Array.from(
        { length: 1 + Math.floor(random(0) * 12) },
        (_, i) => alphabet[Math.floor(random(i + 1) * alphabet.length)],
      );
      const { text, pieces, column } = spelled(tokens);
      const frames = 25;
      const columns = column.size + 1;
      const data = Float32Array.from({ length: frames * columns }, (_, i) => -8 * random(100 + i));
      const seconds = 0.06 * frames - 0.035;
      const result = alignWords(
        text,
        pieces,
        { data, frames, columns, blank: 0 },
        { frameSeconds: 0.06, seconds },
      );
      if ("failure" in result) continue;
      let last = 0;
      for (const { start, end, confidence } of result.words) {
        expect(start).toBeGreaterThanOrEqual(last);
        expect(end).toBeGreaterThan(start);
        expect(confidence).toBeGreaterThanOrEqual(0);
        expect(confidence).toBeLessThanOrEqual(1);
        last = end;
      }
      expect(last).toBeLessThanOrEqual(seconds);
      const letters = (one: string): string => one.replaceAll(/[ ，.]/gu, "");
      expect(letters(result.words.map((word) => word.text).join(""))).toBe(letters(text));
    }
  });

  it.each([
    [
      "a text that is too long for its audio",
      ["a", " b", " c"],
      [1, 2],
      "the text needs 3 frames of audio, and the clip has 2",
    ],
    [
      "equal tokens without a frame between them",
      ["a", "a"],
      [1, 1],
      "the text needs 3 frames of audio, and the clip has 2",
    ],
  ] as const)("reports why it fails: %s", (_, tokens, path, failure) => {
    const { text, pieces, column } = spelled(tokens);
    expect(alignWords(text, pieces, sure(column.size + 2, path), clip)).toEqual({ failure });
  });

  it("has no words for a text without letters", () => {
    expect(alignWords("。", [{ column: 1, begin: 0, end: 3 }], sure(2, [0, 1]), clip)).toEqual({ words: [] });
  });
});

// Plan: what counts as a difference between two texts, and how much.
describe("agreement", () => {
  it.each([
    ["equal texts", "turn on", "turn on", 1],
    ["case, width, spaces and punctuation", "Turn on, the ＴＶ。", "turnon the tv", 1],
    ["one character of four", "打开台灯", "打开台风", 0.75],
    ["a text and nothing", "yes", "", 0],
    ["nothing and nothing", "", "。", 1],
    ["other lengths", "ab", "abcd", 0.5],
  ])("%s", (_, a, b, value) => {
    expect(agreement(a, b)).toBe(value);
    expect(agreement(b, a)).toBe(value);
  });
});
