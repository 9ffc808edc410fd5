import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { characters, mixedUnits, words } from "./canonical.js";
import { characterErrorRate, errorRate, textEdits } from "./cer.js";
import { prefixDistances } from "./distances.js";
import { EvaluateError, align, alignHalves, countEdits } from "./edits.js";

type Counts = readonly [substitutions: number, deletions: number, insertions: number, length: number];

const fixture = JSON.parse(
  gunzipSync(
    readFileSync(new URL("../../../test/fixtures/evaluate/rates.json.gz", import.meta.url)),
  ).toString(),
) as {
  pairs: [
    reference: string,
    hypothesis: string,
    characters: Counts,
    words: Counts,
    mixed: Counts,
    funasr: readonly [wrongCharacters: number, characters: number, wrongWords: number, words: number],
  ][];
  characters: [first: number, last: number, kind: 1 | 2 | 3][];
  upper: [string, string][];
};

const countsOf = (reference: string, hypothesis: string, unit: "character" | "word" | "mixed"): Counts => {
  const { substitutions, deletions, insertions, length } = textEdits(reference, hypothesis, unit);
  return [substitutions, deletions, insertions, length];
};

// Plan: every substitution, deletion and insertion as jiwer counts them over 2,400 pairs of mixed
// scripts, the sums as FunASR's own scorer has them, for characters, words, and units of mixed
// scripts.
describe("jiwer and FunASR", () => {
  it("has enough pairs, empty ones among them", () => {
    expect(fixture.pairs.length).toBeGreaterThanOrEqual(2000);
    expect(fixture.pairs.filter(([, , [, , , length]]) => length === 0).length).toBeGreaterThan(20);
    expect(fixture.pairs.filter(([, hypothesis]) => hypothesis === "").length).toBeGreaterThan(50);
  });

  it.each([
    ["character", 2],
    ["word", 3],
    ["mixed", 4],
  ] as const)("%s", (unit, column) => {
    const got = fixture.pairs.map(([reference, hypothesis]) => [
      reference,
      hypothesis,
      countsOf(reference, hypothesis, unit),
    ]);
    expect(got).toEqual(fixture.pairs.map((pair) => [pair[0], pair[1], pair[column]]));
  });

  it("FunASR's sums", () => {
    const got = fixture.pairs.map(([reference, hypothesis]) =>
      (["character", "word"] as const).flatMap((unit) => {
        const [s, d, i, length] = countsOf(reference, hypothesis, unit);
        return [s + d + i, length];
      }),
    );
    expect(got).toEqual(fixture.pairs.map((pair) => pair[5]));
  });
});

const scriptsWithMarks = [
  ...["Thai", "Lao", "Khmer", "Myanmar", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya"],
  ...["Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Tibetan"],
];
const needed = (character: string): boolean =>
  /^\p{M}$/u.test(character) &&
  scriptsWithMarks.some((script) => new RegExp(`^\\p{Script=${script}}$`, "u").test(character));

// Plan: each code point that Python knows is dropped, kept, or white space as in FunASR's
// `text_tn`, but for the marks that scripts need, and has Python's upper case.
describe("the canonical form of every character", () => {
  it.each([
    [1, "dropped", []],
    [2, "kept", ["one"]],
    [3, "white space", []],
  ] as const)("kind %i: %s", (kind, _, units) => {
    const wrong: string[] = [];
    for (const [first, last] of fixture.characters.filter((run) => run[2] === kind))
      for (let code = first; code <= last; code++) {
        const character = String.fromCodePoint(code);
        const kept = units.length > 0 || needed(character);
        if (characters(character).length > 0 !== kept) wrong.push(code.toString(16));
        if (words(`a${character}b`).length !== (kind === 3 ? 2 : 1))
          wrong.push(`${code.toString(16)} splits`);
      }
    expect(wrong).toEqual([]);
  });

  it("upper case", () => {
    expect(fixture.upper.length).toBeGreaterThan(1300);
    expect(fixture.upper.map(([character]) => [character, words(character).join(" ")])).toEqual(
      fixture.upper,
    );
  });
});

test.each([
  ["Turn it on!", ["TURN", "IT", "ON"]],
  ["打开 the lamp，谢谢", ["打", "开", "THE", "LAMP", "谢", "谢"]],
  ["打开iPhone15吧", ["打", "开", "IPHONE15", "吧"]],
  ["コーヒー 커피 один", ["コ", "ー", "ヒ", "ー", "커피", "ОДИН"]],
  ["…", []],
  ["เปิด tv", ["เ", "ป", "\u0e34", "ด", "TV"]],
  ["ເປດ ບ", ["ເ", "ປ", "ດ", "ບ"]],
  ["ភាស", ["ភ", "\u17b6", "ស"]],
  ["हिन्दी tv", ["हिन्दी", "TV"]],
  ["불 켜", ["불", "켜"]],
])("units of mixed scripts: %s", (text, units) => expect(mixedUnits(text)).toEqual(units));

// Plan: [reference, answer, edits, length]: marks that make another word count in each script that
// needs them, as do marks left out; canonically equal spellings are alike; marks of other scripts
// count for nothing, as in `text_tn`.
test.each([
  ["ใกล้", "ไกล", 2, 4],
  ["ผู้", "ผู", 1, 3],
  ["ເຂົ້າ", "ເຂາ", 2, 5],
  ["កាត់", "កត", 2, 4],
  ["မြန်မာ", "မနမ", 3, 6],
  ["दिन", "दीन", 1, 3],
  ["বিষ", "বষ", 1, 3],
  ["தமிழ்", "தமழ", 2, 5],
  ["कि\u200d", "कि", 0, 2],
  ["\u0958लम", "क\u093cलम", 0, 4],
  ["กุ\u0e48", "ก\u0e48ุ", 0, 3],
  ["เปิด ไฟ", "เปิดไฟ", 0, 6],
  ["كَتَبَ", "كتب", 0, 3],
  ["שָׁלוֹם", "שלום", 0, 4],
  ["cafe\u0301", "cafe", 0, 4],
  ["が\u3099", "が", 0, 1],
  ["你好\u302a", "你好", 0, 2],
])("marks: %s and %s", (reference, answer, edits, length) => {
  expect(characterErrorRate([[reference, answer]])).toMatchObject({ edits, length });
});

// Plan: laws of the edit distance on random sequences: nothing for equal ones, the same both ways,
// the alignment gives both back.
describe("laws", () => {
  const sequence = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 12 });
  const cost = (a: readonly string[], b: readonly string[]): number => {
    const { substitutions, deletions, insertions } = countEdits(align(a, b));
    return substitutions + deletions + insertions;
  };

  it("hold", () =>
    fc.assert(
      fc.property(sequence, sequence, sequence, (a, b, c) => {
        const columns = align(a, b);
        expect(columns.flatMap(({ reference = [] }) => reference)).toEqual(a);
        expect(columns.flatMap(({ hypothesis = [] }) => hypothesis)).toEqual(b);
        expect(cost(a, a)).toBe(0);
        expect(cost(a, b)).toBe(cost(b, a));
        expect(cost(a, c)).toBeLessThanOrEqual(cost(a, b) + cost(b, c));
      }),
      { seed: 3, numRuns: 500 },
    ));
});

// Plan: a rate is the sum of edits over the sum of lengths, not a mean of rates; without reference
// units there is none.
describe("rates", () => {
  it("are micro averages", () => {
    const { rate, edits, length } = characterErrorRate([
      ["ab", "ax"],
      ["abcdefgh", "abcdefgh"],
    ]);
    expect([rate, edits, length]).toEqual([0.1, 1, 10]);
  });

  it("can be above one, and of nothing are no number", () => {
    expect(characterErrorRate([["a", "bcd"]]).rate).toBe(3);
    expect(characterErrorRate([["", "b"]])).toMatchObject({ rate: NaN, insertions: 1 });
    expect(errorRate([]).rate).toBeNaN();
  });

  it("refuse sequences too long to align", () => {
    const long = new Array<string>(800_000).fill("a");
    expect(() => align(long, new Array<string>(800_000).fill("b"))).toThrow(EvaluateError);
    expect(align(long, long)).toHaveLength(800_000);
  });

  // The whole table of moves, by the same rule, for the band to be compared with.
  function wholeTable(reference: readonly string[], hypothesis: readonly string[]): string {
    const table = [reference.map((_, i) => i).concat(reference.length)];
    for (let j = 1; j <= hypothesis.length; j++) {
      table[j] = [j];
      for (let i = 1; i <= reference.length; i++) {
        const kept = table[j - 1][i - 1] + (reference[i - 1] === hypothesis[j - 1] ? 0 : 1);
        table[j][i] = Math.min(kept, table[j - 1][i] + 1, table[j][i - 1] + 1);
      }
    }
    let kinds = "";
    for (let [i, j] = [reference.length, hypothesis.length]; i > 0 || j > 0;) {
      const removed = i > 0 && (j === 0 || table[j][i] === table[j][i - 1] + 1);
      const added = !removed && (i === 0 || table[j - 1][i] + 1 === table[j - 1][i - 1]);
      if (!removed) j--;
      if (!added) i--;
      kinds = (removed ? "d" : added ? "i" : reference[i] === hypothesis[j] ? "e" : "s") + kinds;
    }
    return kinds;
  }

  it("gives in a band the moves of the whole table", () => {
    const unit = fc.constantFrom("a", "b", "c");
    const edit = fc.record({ at: fc.nat(399), text: fc.array(unit, { maxLength: 30 }), gone: fc.nat(30) });
    const texts = fc.tuple(
      fc.array(unit, { minLength: 200, maxLength: 400 }),
      fc.array(edit, { maxLength: 8 }),
    );
    const property = fc.property(texts, ([reference, edits]) => {
      const hypothesis = [...reference];
      for (const { at, text, gone } of edits) hypothesis.splice(at, gone, ...text);
      const kinds = align(["x", ...reference, "x"], ["y", ...hypothesis, "y"]).map(({ kind }) => kind[0]);
      expect(kinds.join("")).toBe(wholeTable(["x", ...reference, "x"], ["y", ...hypothesis, "y"]));
    });
    fc.assert(property, { numRuns: 300, seed: 7 });
  });

  const sum = (a: readonly string[], b: readonly string[], columns = align(a, b)): number => {
    const { substitutions, deletions, insertions } = countEdits(columns);
    return substitutions + deletions + insertions;
  };

  it("gives in halves as few edits as in a band, and both texts", () => {
    const unit = fc.constantFrom(..."a b c d e f g 你 好".split(" "));
    const text = fc.array(unit, { maxLength: 150 });
    const property = fc.property(text, text, (a, b) => {
      const columns = alignHalves(a, b);
      expect(sum(a, b, columns)).toBe(sum(a, b));
      expect(columns.flatMap(({ reference = [] }) => reference)).toEqual(a);
      expect(columns.flatMap(({ hypothesis = [] }) => hypothesis)).toEqual(b);
      const prefixes = [0, 1, 31, 32, 33, 64, 65, a.length].filter((length) => length <= a.length);
      const distances = prefixDistances(a, b);
      for (const length of prefixes) expect(distances[length]).toBe(sum(a.slice(0, length), b));
    });
    fc.assert(property, { numRuns: 300, seed: 8 });
  });

  it("aligns an hour of which every third unit is wrong", () => {
    const spoken = Array.from({ length: 40_000 }, (_, i) => String((i * i) % 97));
    const heard = spoken.map((unit, i) => (i % 3 === 0 ? `wrong ${i % 7}` : unit));
    expect(sum(["a", ...spoken, "a"], ["b", ...heard, "b"])).toBe(Math.ceil(40_000 / 3) + 2);
  });

  it("aligns a text of two hours", () => {
    const spoken = Array.from({ length: 60_000 }, (_, i) => String((i * i) % 97));
    const heard = spoken.flatMap((unit, i) => (i % 500 === 0 ? [] : i % 501 === 0 ? [unit, "x"] : [unit]));
    const { deletions, insertions, substitutions } = countEdits(
      align(["a", ...spoken, "a"], ["b", ...heard, "b"]),
    );
    expect(deletions + insertions + substitutions).toBe(120 + 119 + 2);
  });
});
