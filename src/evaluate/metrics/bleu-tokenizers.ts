import { splitWords, trim } from "./spaces.js";

/** How BLEU splits a line into tokens. */
export type BleuTokenizer = "13a" | "zh" | "char" | "intl" | "none";

/**
 * Western punctuation set apart; periods and commas but between digits, dashes after digits.
 * @source mteval-v13a
 */
function western(line: string): string[] {
  return splitWords(
    line
      .replaceAll(/([{-~[-` -&(-+:-@/])/gu, " $1 ")
      .replaceAll(/([^0-9])([.,])/gu, "$1 $2 ")
      .replaceAll(/([.,])([^0-9])/gu, " $1 $2")
      .replaceAll(/([0-9])(-)/gu, "$1 $2 "),
  );
}

function tokens13a(line: string): string[] {
  const joined = line.replaceAll("<skipped>", "").replaceAll("-\n", "").replaceAll("\n", " ");
  const plain = joined
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  return western(` ${plain} `);
}

/**
 * Characters that sacrebleu's zh tokeniser sets apart. Two of its ranges are written for code points past U+FFFF but hold
 * four hexadecimal digits and a letter each, so they cover U+2001–U+2A6D and U+2F81–U+2FA1, and no character past U+FFFF.
 */
const chinese =
  /[\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef]/gu;

function tokensInternational(line: string): string[] {
  return splitWords(
    line
      .replaceAll(/(\P{N})(\p{P})/gu, "$1 $2 ")
      .replaceAll(/(\p{P})(\P{N})/gu, " $1 $2")
      .replaceAll(/(\p{S})/gu, " $1 "),
  );
}

/** Tokens of a line, as sacrebleu 2.6.0 has them. */
export const bleuTokens: Readonly<Record<BleuTokenizer, (line: string) => string[]>> = {
  "13a": tokens13a,
  zh: (line) => western(trim(line).replaceAll(chinese, " $& ")),
  char: (line) => splitWords(Array.from(line).join(" ")),
  intl: tokensInternational,
  none: splitWords,
};
