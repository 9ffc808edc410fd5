/** Languages that a translation can be asked for. */
export type TargetLanguage = "zh" | "en";

/**
 * Wordings of a request to translate, by the language asked for; the first is the usual one. The audio, or for "text" the sentence, follows
 * at once. No released checkpoint was trained to translate: these are put like its own requests to transcribe, and the miniature's LLM
 * knows them all (experiments/migration/recipe/wordings.json).
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
