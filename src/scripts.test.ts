import { expect, test } from "vitest";
import { joinTexts } from "./scripts.js";

// Plan: texts of segments join by the rules of their scripts, punctuation stays.

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
