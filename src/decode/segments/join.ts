/** What models write where nobody speaks, in place of words. */
const SILENCE_MARKS =
  /\/sil(?![\p{L}\p{N}])|(?<![\p{Script=Latin}\p{N}])\/(?:spk|noise)(?![\p{L}\p{N}])|<\|?(?:sil|silence|nospeech|noise)\|?>|\[(?:sil|silence|noise|blank_audio)\]/giu;

/** Scripts that are written without spaces. */
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}ー々〆]/u;
/** Punctuation that has its space in it. */
const WIDE_PUNCTUATION =
  /[\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]/u;

/** A text without the marks of silence that are no words, such as `/sil`. */
export function withoutSilenceMarks(text: string): string {
  const kept = text.replace(SILENCE_MARKS, "");
  return kept === text ? text : kept.replace(/ {2,}/g, " ").trim();
}

/**
 * What stands between two texts that follow each other: nothing between two characters of Chinese
 * or Japanese, beside their punctuation and beside an empty text, else a space.
 */
export function jointOf(before: string, after: string): "" | " " {
  const left = Array.from(before.trimEnd().slice(-2)).at(-1);
  const right = /^\s*(\S)/u.exec(after)?.[1];
  if (left === undefined || right === undefined || /\s$/.test(before.slice(-1)) || /^\s/.test(after))
    return "";
  if (WIDE_PUNCTUATION.test(left) || WIDE_PUNCTUATION.test(right)) return "";
  return UNSPACED.test(left) && UNSPACED.test(right) ? "" : " ";
}

/** The texts of segments as one text. */
export function joinTexts(texts: Iterable<string>): string {
  let all = "";
  for (const text of texts) all += jointOf(all, text) + text;
  return all;
}
