import { eastAsianWidth } from "get-east-asian-width";

/** Tenths of a column: 42 columns hold 42 Latin letters or 20 Chinese characters. */
const NARROW = 10;
const WIDE = 21;

const invisible = /[\p{M}\p{Cf}]/u;

/**
 * Width of a text in a subtitle, in tenths of a column: 10 a character, 21 one that is wide by its
 * East Asian width, 0 a combining mark.
 */
export function tenths(text: string): number {
  let sum = 0;
  for (const character of text) {
    if (invisible.test(character)) continue;
    sum += eastAsianWidth(character.codePointAt(0)!) === 2 ? WIDE : NARROW;
  }
  return sum;
}
