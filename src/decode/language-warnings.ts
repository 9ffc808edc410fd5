import { type LanguageCode, englishName, languageCode, languageScripts } from "../tokenizer/languages.js";
import { sum } from "../arrays.js";

const SCRIPTS = ["Latin", "Han", "Hiragana", "Katakana", "Hangul", "Thai", "Arabic", "Devanagari"]
  .concat(["Cyrillic", "Greek"])
  .map((name) => ({ name, letters: new RegExp(`\\p{Script=${name}}`, "u") }));

/** The share of an answer's letters in scripts of other languages that is reported. */
const foreignShare = 0.25;
/** Latin words that are allowed beside another script: names and loanwords. */
const latinWords = 3;
/** Chinese characters from which a Japanese answer without any kana is reported. */
const kanjiAlone = 20;
/**
 * Letters from which an answer in Latin letters alone is reported, unless it has several words: OK,
 * USB and Wi-Fi are words of any language.
 */
const leastLatin = 5;
/**
 * Common characters that only simplified Chinese writes.
 * @source OpenCC's dictionaries: each has another traditional form, stands in no traditional word,
 *         and is no Japanese form (the test checks it by opencc-js)
 */
export const SIMPLIFIED =
  /[们这时为说对开关书东车马鸟鱼门问间见长话语请让认识谁谢给钱钟听觉应该买卖过还进远运边达动办务员难电热厅头饭讲爱样现汉计设际华乐场报吗]/u;

/**
 * A warning where the script of an answer does not fit the language asked for; undefined where it
 * fits or the language is unknown. Digits, signs and marks do not count; a few Latin words fit
 * beside letters of the script asked for.
 */
export function scriptWarning(text: string, language: string | undefined): string | undefined {
  const scripts = language === undefined ? undefined : languageScripts(language);
  if (scripts === undefined) return undefined;
  const counts = countScripts(text);
  const letters = sum(counts.values());
  const asked = `${language} was asked for`;
  if (scripts.includes("Hiragana")) {
    const kana = (counts.get("Hiragana") ?? 0) + (counts.get("Katakana") ?? 0);
    if (kana === 0 && (SIMPLIFIED.test(text) || (counts.get("Han") ?? 0) >= kanjiAlone))
      return `the answer has Chinese characters and no kana; ${asked}`;
  }
  const words = text.match(/\p{Script=Latin}+/gu)?.length ?? 0;
  if (counts.size === 1 && (counts.get("Latin") ?? leastLatin) < leastLatin && !/\s/.test(text.trim()))
    return undefined;
  const fits = Array.from(counts.keys()).some((name) => scripts.includes(name));
  const foreign = Array.from(counts).filter(
    ([name]) => !scripts.includes(name) && (name !== "Latin" || !fits || words > latinWords),
  );
  const strange = foreign.reduce((sum, [, count]) => sum + count, 0);
  if (strange === 0 || strange < foreignShare * letters) return undefined;
  const [[name]] = foreign.sort(([, a], [, b]) => b - a);
  return `the answer is in another script (${name}); ${asked}`;
}

/** A warning where an answer is no translation into `to`; undefined where it may be one. */
export function translationWarning(text: string, to: string): string | undefined {
  const advice = "this checkpoint may not have learned to translate";
  if (text === "") return `no answer: no speech, or ${advice}`;
  const counts = countScripts(text);
  const fits = languageScripts(to)?.some((script) => counts.has(script)) ?? true;
  const strange = fits ? scriptWarning(text, to) : foreignOnly(counts, to);
  return strange && `${strange}; ${advice}`;
}

function foreignOnly(counts: ReadonlyMap<string, number>, to: string): string | undefined {
  const [first] = Array.from(counts).sort(([, a], [, b]) => b - a);
  return first && `the answer is in another script (${first[0]}); ${to} was asked for`;
}

function countScripts(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const letter of text.match(/\p{L}/gu) ?? []) {
    const name = SCRIPTS.find(({ letters }) => letters.test(letter))?.name;
    // A long vowel mark and the like belong to several scripts.
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
    else if (!/\p{Script=Common}/u.test(letter)) counts.set("other", (counts.get("other") ?? 0) + 1);
  }
  return counts;
}

/**
 * A warning where a checkpoint does not know the language asked for; undefined where it does, or
 * nothing says it.
 */
export function languageWarning(
  language: string | undefined,
  known: readonly LanguageCode[] | undefined,
): string | undefined {
  if (language === undefined || known === undefined) return undefined;
  const code = languageCode(language);
  if (code === undefined || known.includes(code)) return undefined;
  const advice = "its answers may be in another language; Fun-ASR-MLT-Nano-2512 knows 31 languages";
  return `--language ${language}: this checkpoint knows ${known.join(", ")}, not ${englishName(code)}; ${advice}`;
}
