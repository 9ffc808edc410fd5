/**
 * The languages of Fun-ASR-Nano and Fun-ASR-MLT-Nano.
 * @source FunASR's model cards of the two checkpoints
 */

/** By code: the name in the instruction, the English name, and the scripts. */
const TABLE = {
  zh: ["中文", "Chinese", "Han"],
  en: ["英文", "English", "Latin"],
  ja: ["日文", "Japanese", "Han Hiragana Katakana"],
  yue: ["粤语", "Cantonese", "Han"],
  ko: ["韩文", "Korean", "Hangul"],
  vi: ["越南语", "Vietnamese", "Latin"],
  id: ["印尼语", "Indonesian", "Latin"],
  th: ["泰语", "Thai", "Thai"],
  ms: ["马来语", "Malay", "Latin"],
  fil: ["菲律宾语", "Filipino", "Latin"],
  ar: ["阿拉伯语", "Arabic", "Arabic"],
  hi: ["印地语", "Hindi", "Devanagari"],
  bg: ["保加利亚语", "Bulgarian", "Cyrillic"],
  hr: ["克罗地亚语", "Croatian", "Latin"],
  cs: ["捷克语", "Czech", "Latin"],
  da: ["丹麦语", "Danish", "Latin"],
  nl: ["荷兰语", "Dutch", "Latin"],
  et: ["爱沙尼亚语", "Estonian", "Latin"],
  fi: ["芬兰语", "Finnish", "Latin"],
  el: ["希腊语", "Greek", "Greek"],
  hu: ["匈牙利语", "Hungarian", "Latin"],
  ga: ["爱尔兰语", "Irish", "Latin"],
  lv: ["拉脱维亚语", "Latvian", "Latin"],
  lt: ["立陶宛语", "Lithuanian", "Latin"],
  mt: ["马耳他语", "Maltese", "Latin"],
  pl: ["波兰语", "Polish", "Latin"],
  pt: ["葡萄牙语", "Portuguese", "Latin"],
  ro: ["罗马尼亚语", "Romanian", "Latin"],
  sk: ["斯洛伐克语", "Slovak", "Latin"],
  sl: ["斯洛文尼亚语", "Slovenian", "Latin"],
  sv: ["瑞典语", "Swedish", "Latin"],
} as const satisfies Record<string, readonly [chinese: string, english: string, scripts: string]>;

/** A language that Fun-ASR-MLT-Nano was trained for. */
export type LanguageCode = keyof typeof TABLE;

/** A language for the instruction: a code, or its Chinese or English name, or 四川话 and the like. */
export type Language = LanguageCode | (string & Record<never, never>);

/** Codes of all languages, those of Fun-ASR-Nano first. */
export const LANGUAGE_CODES = Object.keys(TABLE) as LanguageCode[];

/** The languages of Fun-ASR-Nano-2512. */
const NANO: readonly LanguageCode[] = ["zh", "en", "ja"];

const CODES = new Map(
  LANGUAGE_CODES.flatMap((code) =>
    [code, TABLE[code][0], TABLE[code][1].toLowerCase()].map((name) => [name, code] as const),
  ),
);

/** The code of a language by its code, Chinese or English name; undefined for others. */
export function languageCode(language: string): LanguageCode | undefined {
  return CODES.get(language) ?? CODES.get(language.toLowerCase());
}

/** The name for the instruction; undefined for other text than a known or a Chinese name. */
export function languageName(language: string): string | undefined {
  const code = languageCode(language);
  if (code !== undefined) return TABLE[code][0];
  return /^\p{Script=Han}{2,16}$/u.test(language) ? language : undefined;
}

/** English name of a language. */
export function englishName(code: LanguageCode): string {
  return TABLE[code][1];
}

/** The scripts of a language by their Unicode names; undefined for an unknown language. */
export function languageScripts(language: string): readonly string[] | undefined {
  const code = languageCode(language);
  return code && TABLE[code][2].split(" ");
}

/**
 * The languages of a checkpoint, which its chat template names. Without a template the rule
 * distinguishes the published checkpoints: only Fun-ASR-Nano sets `use_low_frame_rate`.
 * @param audioTokenRule  of FunASR's config.yaml; undefined for other layouts
 * @returns undefined  unknown
 */
export function knownLanguages(
  template: string | undefined,
  audioTokenRule: "all" | "low_frame_rate" | undefined,
): readonly LanguageCode[] | undefined {
  if (template === undefined && audioTokenRule === undefined) return undefined;
  if (template === undefined) return audioTokenRule === "all" ? LANGUAGE_CODES : NANO;
  const named = LANGUAGE_CODES.filter((code) => template.includes(TABLE[code][0]));
  return named.length > 0 ? named : undefined;
}
