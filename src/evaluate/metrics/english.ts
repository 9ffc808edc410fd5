import { englishNumbers } from "./english-numbers.js";
import { americanSpelling } from "./english-spelling.js";
import { space, splitWords } from "./spaces.js";

const boundary = { before: "(?<![\\p{L}\\p{N}_])", after: "(?![\\p{L}\\p{N}_])" };
const fillers = new RegExp(`${boundary.before}(hmm|mm|mhm|mmm|uh|um)${boundary.after}`, "gu");

/**
 * Short form: long form, in the order in which they are replaced.
 * @source OpenAI Whisper, whisper/normalizers/english.py, MIT
 */
const replacements: readonly (readonly [RegExp, string])[] = [
  ...words("won't:will not|can't:can not|let's:let us|ain't:aint|y'all:you all|wanna:want to|gotta:got to"),
  ...words("gonna:going to|i'ma:i am going to|imma:i am going to|woulda:would have|coulda:could have"),
  ...words("shoulda:should have|ma'am:madam|mr:mister |mrs:missus |st:saint |dr:doctor |prof:professor "),
  ...words("capt:captain |gov:governor |ald:alderman |gen:general |sen:senator |rep:representative "),
  ...words("pres:president |rev:reverend |hon:honorable |asst:assistant |assoc:associate |lt:lieutenant "),
  ...words("col:colonel |jr:junior |sr:senior |esq:esquire "),
  ...ends("'d been: had been|'s been: has been|'d gone: had gone|'s gone: has gone|'d done: had done"),
  ...ends("'s got: has got|n't: not|'re: are|'s: is|'d: would|'ll: will|'t: not|'ve: have|'m: am"),
];

function words(rows: string): [RegExp, string][] {
  return rows.split("|").map((row) => pair(row, boundary.before));
}

function ends(rows: string): [RegExp, string][] {
  return rows.split("|").map((row) => pair(row, ""));
}

function pair(row: string, before: string): [RegExp, string] {
  const [short, long] = row.split(":");
  return [new RegExp(`${before}${short}${boundary.after}`, "gu"), long];
}

/** Letters that do not come apart into a base and a mark, in lower case. */
const letters: Readonly<Record<string, string>> = {
  œ: "oe",
  ø: "o",
  æ: "ae",
  ß: "ss",
  đ: "d",
  ð: "d",
  þ: "th",
  ł: "l",
};

/**
 * Without `(...)` or `<...>`, which begin with one of `open` and end at the next of `close`; one
 * with nothing in it stays if asked.
 */
function withoutBrackets(text: string, open: RegExp, close: RegExp, keepEmpty: boolean): string {
  let out = "";
  let from = 0;
  for (let at = nextOf(open, text, 0); at >= 0; at = nextOf(open, text, at)) {
    const end = nextOf(close, text, at + 1);
    if (end < 0) break;
    if (keepEmpty && end === at + 1) at++;
    else {
      out += text.slice(from, at);
      from = at = end + 1;
    }
  }
  return out + text.slice(from);
}

/** @param mark  sticky or global */
function nextOf(mark: RegExp, text: string, from: number): number {
  mark.lastIndex = from;
  return mark.exec(text)?.index ?? -1;
}

function plainLetters(text: string): string {
  return text
    .normalize("NFKD")
    .replaceAll(/[œøæßđðþł]/g, (letter) => letters[letter])
    .replaceAll(/\p{Mn}+/gu, "")
    .replaceAll(/(?![.%$¢€£])[\p{M}\p{S}\p{P}]/gu, " ");
}

const apostrophe = new RegExp(`(?<!${space})${space}+'`, "g");
const spaces = new RegExp(`${space}+`, "g");

/**
 * English as Whisper's results are scored: lower case, no punctuation and diacritics, contractions
 * written out, numbers as digits, American spelling, no fillers, nothing in brackets.
 * @param spelling  of one word
 * @source the rules of OpenAI Whisper's EnglishTextNormalizer (whisper/normalizers/english.py, MIT)
 */
export function englishForm(text: string, spelling: (word: string) => string = americanSpelling): string {
  const bare = withoutBrackets(text.toLowerCase(), /[<[]/g, /[>\]]/g, false);
  let out = withoutBrackets(bare, /\(/g, /\)/g, true).replaceAll(fillers, "").replaceAll(apostrophe, "'");
  for (const [short, long] of replacements) out = out.replaceAll(short, long);
  out = out.replaceAll(/(\p{Nd}),(\p{Nd})/gu, "$1$2").replaceAll(/\.([^0-9]|$)/g, " $1");
  return splitWords(englishNumbers(plainLetters(out)))
    .map(spelling)
    .join(" ")
    .replaceAll(/[.$¢€£]([^0-9])/gu, " $1")
    .replaceAll(/([^0-9])%/gu, "$1 ")
    .replaceAll(spaces, " ");
}
