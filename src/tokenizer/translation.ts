/** Languages of a translation. */
export type TargetLanguage = "zh" | "en";

/**
 * Requests to translate, by target language; the first is the default. The audio, or for "text" the
 * sentence, follows. No released checkpoint was trained to translate: these follow the wording of
 * the requests to transcribe (experiments/migration/recipe/wordings.json).
 */
export const TRANSLATION = {
  speech: {
    en: ["语音翻译成英文：", "Translate speech into English:"],
    zh: ["语音翻译成中文：", "Translate speech into Chinese:"],
  },
  text: {
    en: ["翻译成英文：", "Translate into English:"],
    zh: ["翻译成中文：", "Translate into Chinese:"],
  },
} as const satisfies Record<string, Readonly<Record<TargetLanguage, readonly string[]>>>;
