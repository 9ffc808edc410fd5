import type { LanguageCode } from "../../tokenizer/languages.js";

/** Scripts that belong to one language among those of the models; the first that is found counts. */
const scripts: readonly (readonly [RegExp, LanguageCode])[] = [
  [/[\p{Script=Hiragana}\p{Script=Katakana}]/gu, "ja"],
  [/\p{Script=Hangul}/gu, "ko"],
  [/\p{Script=Thai}/gu, "th"],
  [/\p{Script=Arabic}/gu, "ar"],
  [/\p{Script=Devanagari}/gu, "hi"],
  [/\p{Script=Cyrillic}/gu, "bg"],
  [/\p{Script=Greek}/gu, "el"],
  [/\p{Script=Han}/gu, "zh"],
  [/\p{Script=Latin}+/gu, "en"],
];

/**
 * The language of a transcript by its letters, for an answer that has to name one: the script that
 * has most of them, a Latin word counting as one. Kana make a text Japanese. Undefined without
 * letters.
 */
export function spokenLanguage(text: string): LanguageCode | undefined {
  let best: LanguageCode | undefined;
  let most = 0;
  for (const [letters, code] of scripts) {
    const count = text.match(letters)?.length ?? 0;
    if (code === "ja" && count > 0 && count * 4 >= (text.match(/\p{Script=Han}/gu)?.length ?? 0)) return "ja";
    if (count > most) [best, most] = [code, count];
  }
  return best;
}
