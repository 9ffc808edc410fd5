import { unspaced } from "../../scripts.js";
import { splitWords, whiteSpace } from "./spaces.js";

/**
 * Scripts whose vowel signs, tone marks and viramas are combining marks: without them different
 * words are alike.
 */
const spelledWithMarks = "Thai Lao Khmr Mymr Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Tibt"
  .split(" ")
  .map((script) => `\\p{Script=${script}}`)
  .join("");
const stretches = new RegExp(`[${spelledWithMarks}]+`, "gu");

/**
 * Matches all but word characters, white space and the marks of those scripts. Python's \w is
 * letters (CJK among them), numbers and the underscore, without combining marks.
 */
const dropped = new RegExp(`(?:(?!(?=\\p{M})[${spelledWithMarks}])[^\\p{L}\\p{N}_${whiteSpace}])+`, "gu");

const numberMarks = /((?<=[0-9])[./](?=[0-9])|(?<=[0-9])%)/u;

/**
 * Letters, numbers, underscores and white space, in upper case; of the scripts that are spelled
 * with marks those too, composed (NFC).
 * @source FunASR fun_asr_nano `text_tn`, which drops every mark
 */
export function spoken(text: string): string {
  const composed = text.replace(stretches, (stretch) => stretch.normalize("NFC"));
  return composed.replace(dropped, "").toUpperCase();
}

/** As `spoken`, with the marks within numbers: 3.5, 1/3, 50%. */
export function spokenWithMarks(text: string): string {
  return text
    .split(numberMarks)
    .map((part, i) => (i % 2 === 1 ? part : spoken(part)))
    .join("");
}

/** A form's characters, without the spaces. */
export function characters(text: string, form: (text: string) => string = spoken): string[] {
  return Array.from(splitWords(form(text)).join(""));
}

/** A form's words, for scripts with spaces. */
export function words(text: string, form: (text: string) => string = spoken): string[] {
  return splitWords(form(text));
}

/**
 * Units of a text of mixed scripts: each character of a script without spaces, and each word of the
 * other scripts.
 */
export function mixedUnits(text: string, form: (text: string) => string = spoken): string[] {
  return words(text, form).flatMap((word) => {
    const units: string[] = [];
    let open = false; // whether the last unit takes more characters
    for (const character of word) {
      const alone = unspaced.test(character);
      if (open && !alone) units[units.length - 1] += character;
      else units.push(character);
      open = !alone;
    }
    return units;
  });
}
