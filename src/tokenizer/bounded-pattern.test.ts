import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, it } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { BoundedPattern, PatternBudget, PatternLimitError } from "./bounded-pattern.js";
import { UnsupportedPatternError } from "./regex-program.js";

// Plan: a bounded pattern finds the matches of the RegExp, for a table and for random patterns.
// Endless backtracking ends at a limit. A single character needs no table. Unsupported patterns are
// refused.
const runs = fuzzRuns(4000);
const bounded = (source: string): BoundedPattern => new BoundedPattern(source, new PatternBudget());
const found = (text: string, pattern: RegExp): [string, number][] =>
  Array.from(text.matchAll(pattern), (match) => [match[0], match.index]);
/** The RegExp's matches, looked for at one character after the other: V8's own search skips some. */
function stepped(source: string, text: string): [string, number][] {
  const pattern = new RegExp(source, "uy");
  const matches: [string, number][] = [];
  for (let at = 0; at <= text.length;) {
    pattern.lastIndex = at;
    const match = pattern.exec(text)?.[0];
    if (match !== undefined) matches.push([match, at]);
    at += match?.length || (text.codePointAt(at)! > 0xffff ? 2 : 1);
  }
  return matches;
}
const agree = (source: string, text: string): void => {
  const ours = bounded(source) as unknown as RegExp; // as for the library
  const native = new RegExp(source, "gu");
  const expected = stepped(source, text);
  expect(found(text, ours), `/${source}/ in ${JSON.stringify(text)}`).toEqual(expected);
  if (!isDeepStrictEqual(found(text, native), expected)) return;
  expect(text.match(ours)).toEqual(text.match(native) && [...(text.match(native) ?? [])]);
  expect(text.replaceAll(ours, "<>")).toBe(text.replaceAll(native, "<>"));
};
const texts = [
  "",
  "a",
  "aab ab\n",
  "don't 'S  x\r\n\n 123,4 ",
  "世界 é\u0301 𐍈😀\ud83d a😀",
  "   ",
  "aaaaaaaaab",
];

it.each([
  "a|ab",
  "ab|a",
  "a+?b",
  "(?:a|b)*",
  "(a*)*",
  "(?:|a){0,2}",
  "(?:a?){2,3}?",
  "(?:a*?)+b?",
  "a{2}|b{1,}",
  "\\s+(?!\\S)|\\s+",
  "(?<=a)b",
  "(?<=(?:a|ab)+)b",
  "(?<!a+)a",
  "(?=a)(?!aab)a+",
  "(?<![\\s\\S])a|a(?![\\s\\S])",
  "(?<=😀)|(?<=\\p{Lo})",
  "[^\\S\\n]|\\p{L}|[\\]\\\\a-c]",
  "\\u{1F600}|\\ud83d\\ude00|\\x61|\\cJ",
  ".|\\n",
  "(?<name>a)(b)?",
  "(?:(?:a{0,2}){0,2}){0,2}c?",
])("/%s/ finds the RegExp's matches", (source) => {
  for (const text of texts) agree(source, text);
});

it(`${runs} random patterns find the RegExp's matches`, () => {
  const atom = fc.constantFrom(
    "a",
    "b",
    "😀",
    "\\s",
    "[ab]",
    "[^a]",
    ".",
    "\\p{L}",
    "(?=a)",
    "(?<=b)",
    "(?!b)",
    "",
  );
  const repeat = fc.constantFrom("", "", "*", "+", "?", "*?", "+?", "??", "{0,2}", "{2}", "{1,}?");
  const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
    pattern: fc.oneof(
      { maxDepth: 3 },
      fc.tuple(atom, repeat).map(([a, r]) => (a === "" || a.startsWith("(") ? a : a + r)),
      fc.tuple(tie("pattern"), tie("pattern")).map((both) => both.join("")),
      fc.tuple(tie("pattern"), tie("pattern")).map((both) => `(?:${both.join("|")})`),
      fc.tuple(tie("pattern"), repeat).map(([p, r]) => `(${p})${r}`),
      fc.tuple(fc.constantFrom("=", "!", "<=", "<!"), tie("pattern")).map(([k, p]) => `(?${k}${p})`),
    ),
  }));
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c", " ", "\n", "😀", "\ude00"), maxLength: 10 });
  fc.assert(fc.property(pattern, text, agree), { numRuns: runs });
});

it.each([
  ["a repetition in a repetition", "(?:a+)+c"],
  ["alternatives that overlap", "(?:a|a)*c"],
  ["any characters", "(?:(?:\\s|\\S)+)+\\u0000|."],
  ["many stars", ".*.*.*.*c"],
  ["a lookahead", "(?=(?:a+)+c)a|b"],
  ["a lookbehind", "(?<=c(?:a+)+)b"],
  ["a search that fails at every place", "a*c"],
])("ends at a limit: %s", (_, source) => {
  expect(() => [...bounded(source)[Symbol.matchAll]("a".repeat(60_000) + "b")]).toThrow(PatternLimitError);
});

it("1000 different characters take less than 1 MB of tables", () => {
  const source = String.fromCharCode(...Array.from({ length: 1000 }, (_, i) => 0x4e00 + i));
  const before = process.memoryUsage().arrayBuffers;
  const pattern = bounded(source);
  expect(source.match(pattern as unknown as RegExp)).toEqual([source]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
});

it("all patterns and texts share a budget until it is reset", () => {
  const budget = new PatternBudget();
  const pattern = new BoundedPattern("a", budget);
  const before = budget.left;
  pattern[Symbol.match]("aaaa");
  expect(budget.left).toBeLessThan(before - 4);
  budget.left = 3;
  expect(() => pattern[Symbol.match]("aaaa")).toThrow("more than 10000000 steps");
  budget.reset();
  expect(pattern[Symbol.match]("aaaa")).toHaveLength(4);
});

it.each(["(a)\\1", "(?<n>a)\\k<n>", "\\b", "^a", "a$", "(?:){1000000000}", "(?:a{1000}){1000}", "a{30000}"])(
  "refused: /%s/",
  (source) => {
    expect(() => bounded(source)).toThrow(UnsupportedPatternError);
  },
);
