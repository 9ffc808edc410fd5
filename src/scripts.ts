/** Scripts that are written without spaces between words. */
export const unspaced =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u30fc\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/** Scripts whose texts are joined without spaces. */
const JOINED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}ー々〆]/u;
/** Punctuation that has its space in it. */
const WIDE_PUNCTUATION =
  /[\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]/u;

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
  return JOINED.test(left) && JOINED.test(right) ? "" : " ";
}

/** The texts of segments as one text. */
export function joinTexts(texts: Iterable<string>): string {
  const parts: string[] = [];
  let tail = ""; // what decides the next joint
  for (const text of texts) {
    parts.push(jointOf(tail, text), text);
    tail = (tail + text).slice(-2);
  }
  return parts.join("");
}
