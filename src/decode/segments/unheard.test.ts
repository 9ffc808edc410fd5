import { expect, test } from "vitest";
import { isUnheard } from "./unheard.js";

// Plan: a text counts as unheard only where the CTC head is sure of none of it and hears less than
// half as many words; texts that it spells in another way do not, and none does without a head. The
// first rows are answers of the demo to noise and to noisy speech.

const words = (...confidences: number[]) =>
  confidences.map((confidence) => ({ text: "x", start: 0, end: 1, confidence }));

test.each<[string, Parameters<typeof isUnheard>[0], boolean]>([
  ["noise", { text: "four one one", ctcText: "五", agreement: 0, words: words(0.038, 0.116, 0.091) }, true],
  ["noise, no own text", { text: "打开卧室的灯", ctcText: "", agreement: 0, words: words(0.02, 0) }, true],
  ["more tokens than frames", { text: "so it is and was", ctcText: "so", agreement: 0.2 }, true],
  ["noisy speech", { text: "turn it on", ctcText: "the", agreement: 0.13, words: words(0.8, 0, 0) }, false],
  [
    "one sure word of four",
    { text: "a b c d", ctcText: "", agreement: 0, words: words(0.5, 0, 0, 0) },
    false,
  ],
  ["digits", { text: "1990", ctcText: "nineteen ninety", agreement: 0, words: words(0) }, false],
  ["a homophone", { text: "他们", ctcText: "她门", agreement: 0, words: words(0, 0) }, false],
  ["another script", { text: "hello", ctcText: "哈喽", agreement: 0, words: words(0) }, false],
  ["half agrees", { text: "one two", ctcText: "two", agreement: 0.5, words: words(0, 0) }, false],
  ["no text", { text: "", ctcText: "", agreement: 1, words: [] }, false],
  ["no head", { text: "four one one" }, false],
])("%s", (_, answer, unheard) => {
  expect(isUnheard(answer)).toBe(unheard);
});
