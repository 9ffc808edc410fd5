import { expect, test } from "vitest";
import { compressionRatio, doubtOf, wordsOf } from "./doubt.js";

// Plan: a loop, a cut answer, more words than anybody says and a text that repeats itself are
// doubted; plain texts in several scripts are not.

const sentence = "The second question is harder than the first, so let us take it slowly.";

test.each([
  ["a sentence", sentence, "stop", 5, undefined],
  ["Chinese", "今天天气很好，我们下个星期三再讨论这个问题。", "stop", 4, undefined],
  ["one word in a tenth of a second", "Yes.", "stop", 0.1, undefined],
  ["no text", "", "stop", 10, undefined],
  ["a loop that was cut", "no", "loop", 5, "loop"],
  ["an answer that was cut", sentence, "length", 5, "length"],
  ["more words than anybody says", sentence, "stop", 1, "words per second"],
  [
    "more characters than anybody says",
    "今天天气很好我们下个星期三再讨论这个问题",
    "stop",
    0.5,
    "words per second",
  ],
  ["a text that repeats itself", "Thank you for watching. ".repeat(12), "stop", 30, "compression"],
] as const)("%s", async (_, text, finish, seconds, doubt) => {
  expect(await doubtOf(text, finish, seconds)).toBe(doubt);
});

test("words of several scripts", () => {
  expect(wordsOf("It's three o'clock, 今天天气")).toBe(5);
});

test("zlib's ratio", async () => {
  expect(await compressionRatio("a".repeat(1000))).toBeGreaterThan(50);
  expect(await compressionRatio(sentence)).toBeLessThan(1.2);
});
