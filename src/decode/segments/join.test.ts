import { expect, test } from "vitest";
import { joinTexts, withoutSilenceMarks } from "./join.js";

// Plan: texts of segments join by the rules of their scripts, punctuation stays; marks of silence
// go wherever they stand, and words that look like them stay.

test.each([
  ["English", ["Hello there.", "How are you?"], "Hello there. How are you?"],
  ["Chinese", ["今天天气很好。", "我们出去吧"], "今天天气很好。我们出去吧"],
  ["Chinese without punctuation", ["今天", "天气"], "今天天气"],
  ["Japanese", ["コーヒー", "ください"], "コーヒーください"],
  ["Korean has spaces", ["안녕하세요", "반갑습니다"], "안녕하세요 반갑습니다"],
  ["Chinese, then English", ["你好", "Hello"], "你好 Hello"],
  ["English behind Chinese punctuation", ["你好。", "Hello"], "你好。Hello"],
  ["English punctuation before Chinese", ["Hello.", "你好"], "Hello. 你好"],
  ["a comma of full width", ["Hello，", "world"], "Hello，world"],
  ["a rare character of two units", ["𠮷", "野家"], "𠮷野家"],
  ["empty texts", ["", "one", "", "two", ""], "one two"],
  ["one that has its space", ["one ", "two"], "one two"],
  ["none", [], ""],
])("joined: %s", (_, texts, joined) => {
  expect(joinTexts(texts)).toBe(joined);
});

test.each([
  ["/sil", ""],
  ["/sil/sil /sil", ""],
  ["Hello /sil there.", "Hello there."],
  ["你好/sil", "你好"],
  ["<|nospeech|>", ""],
  ["[SILENCE] yes", "yes"],
  ["a file in /silver/ or /silo", "a file in /silver/ or /silo"],
  ["the signal/noise ratio", "the signal/noise ratio"],
  ["你好 /noise", "你好"],
  ["two  spaces stay", "two  spaces stay"],
])("without marks of silence: %j", (text, kept) => {
  expect(withoutSilenceMarks(text)).toBe(kept);
});
