/**
 * White space of Python's str.split(), str.strip() and \s, as a class. Unlike in JavaScript's \s,
 * U+FEFF is none.
 */
export const whiteSpace =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
export const space = `[${whiteSpace}]`;
const spaces = new RegExp(`${space}+`);
const leading = new RegExp(`^${space}+`);
const trailing = new RegExp(`${space}+$`);

/** Words between white space; of an empty or blank text none. */
export function splitWords(text: string): string[] {
  return text.split(spaces).filter((word) => word !== "");
}

/** Without the white space at the end. */
export function trimEnd(text: string): string {
  return text.replace(trailing, "");
}

/** Without the white space at both ends. */
export function trim(text: string): string {
  return trimEnd(text.replace(leading, ""));
}
