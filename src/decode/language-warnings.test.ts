import { expect, it } from "vitest";
import { LANGUAGE_CODES } from "../tokenizer/languages.js";
import { SIMPLIFIED, languageWarning, scriptWarning, translationWarning } from "./language-warnings.js";

// Plan: answers in the script asked for, with loanwords and digits, and one short Latin word alone
// give no warning; other scripts, and drifts into one, do.
it.each([
  ["th", "เปิดไฟ WebGPU 3 ดวง", undefined],
  ["th", "打开所有的灯", "Han"],
  ["th", "เปิดไฟ 打开所有的灯", "Han"],
  ["th", "turn on all of the lights", "Latin"],
  ["泰语", "打开所有的灯", "Han"],
  ["en", "turn on the lights", undefined],
  ["en", "打开所有的灯", "Han"],
  ["vi", "bật đèn lên", undefined],
  ["zh", "打开 WebGPU", undefined],
  ["zh", "電気をつけてください", "Hiragana"],
  ["ja", "コーヒーをください", undefined],
  ["ja", "東京都千代田区", undefined],
  ["ja", "请把客厅里的灯都打开", "no kana"],
  ["ja", "我们去吃饭吧", "no kana"],
  ["ja", "谢谢", "no kana"],
  ["ja", "東京都庁舎前広場集合", undefined],
  ["ja", "了解", undefined],
  ["th", "good", undefined],
  ["th", "ดี good", undefined],
  ["ko", "thank you", "Latin"],
  ...["zh", "ja", "ko", "th", "ar", "el"].flatMap((asked): [string, string, string | undefined][] => [
    [asked, "OK", undefined],
    [asked, "ok.", undefined],
    [asked, "ＯＫ", undefined],
    [asked, "USB", undefined],
    [asked, "Wi-Fi", undefined],
    [asked, "yes", undefined],
    [asked, "MP3", undefined],
    [asked, "hello", "Latin"],
    [asked, "OpenAI", "Latin"],
    [asked, "I am", "Latin"],
    [asked, "OK OK", "Latin"],
    [asked, "thank you", "Latin"],
  ]),
  ["en", "是", "Han"],
  ["zh", "はい", "Hiragana"],
  ["zh", "네", "Hangul"],
  ["el", "good morning", "Latin"],
  ["ko", "불을 켜 주세요", undefined],
  ["ko", "请打开灯", "Han"],
  ["hi", "बत्ती जलाओ", undefined],
  ["ar", "افتح الضوء", undefined],
  ["ar", "बत्ती जलाओ", "Devanagari"],
  ["ru", "打开", undefined],
  [undefined, "打开", undefined],
  ["th", "82", undefined],
  ["th", "", undefined],
])("asked for %s: %s", (language, text, want) => {
  const got = scriptWarning(text, language);
  if (want === undefined) expect(got).toBeUndefined();
  else expect(got).toContain(want);
});

// Plan: each character of the table has another traditional form and stands in no traditional word
// and no Japanese one, by OpenCC's dictionaries; characters that do are found.
const dictionary = async (name: string): Promise<string[][]> => {
  const { default: text } = (await import(`opencc-js/dict/${name}`)) as { default: string };
  return text.split("|").map((line) => line.split(" "));
};

it("the table has characters alone that only simplified Chinese writes", async () => {
  const traditional = new Map((await dictionary("STCharacters")).map(([from, to]) => [from, to]));
  const words = [
    ...(await dictionary("STPhrases")),
    ...(await dictionary("TSCharacters")).map(([from]) => ["", from]),
  ];
  const elsewhere = new Set(
    [...words.map(([, to]) => to), ...(await dictionary("JPShinjitaiCharacters")).flat()].join(""),
  );
  const isShared = (character: string): boolean => !traditional.has(character) || elsewhere.has(character);
  const table = Array.from(/\[(.*)\]/u.exec(SIMPLIFIED.source)![1]);
  expect(new Set(table).size).toBe(66);
  expect(table.filter(isShared)).toEqual([]);
  expect(
    Array.from("国学会来点東車馬后里面只台云人日本").filter((character) => !isShared(character)),
  ).toEqual([]);
});

// Plan: a language that the checkpoint does not know is reported with those that it knows; no claim
// where nothing is known.
it("reports a language that the checkpoint does not know", () => {
  const nano = ["zh", "en", "ja"] as const;
  expect(languageWarning("th", nano)).toMatch(/^--language th: this checkpoint knows zh, en, ja, not Thai/);
  expect(languageWarning("ja", nano)).toBeUndefined();
  expect(languageWarning("th", LANGUAGE_CODES)).toBeUndefined();
  expect(languageWarning("th", undefined)).toBeUndefined();
  expect(languageWarning("四川话", nano)).toBeUndefined();
  expect(languageWarning(undefined, nano)).toBeUndefined();
});

// Plan: each row is [language, answer, warning]. An answer in another script warns, one word too.
// So does a mixed answer with a sentence of it. A single name and digits do not.
it.each([
  ["zh", "打开灯", undefined],
  ["zh", "打开 WebGPU", undefined],
  ["zh", "82", undefined],
  ["zh", "", "no answer"],
  ["zh", "hello", "another script (Latin); zh was asked for"],
  ["zh", "灯 turn on all of the lights", "another script (Latin)"],
  ["en", "turn it on", undefined],
  ["en", "打开灯", "another script (Han); en was asked for"],
  ["en", "on 打开客厅的灯", "another script (Han)"],
])("translated into %s: %s", (to, text, want) => {
  const got = translationWarning(text, to);
  if (want === undefined) expect(got).toBeUndefined();
  else {
    expect(got).toContain(want);
    expect(got).toContain("may not have learned to translate");
  }
});
