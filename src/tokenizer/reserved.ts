import { PromptError } from "./errors.js";

/** Most comparisons of characters: a second or two. */
const mostWork = 2 ** 31;

/**
 * The first token of `reserved` that is not equally often in `text` and `baseline`: the user's text
 * made it, not the template.
 * @throws PromptError  the text is too long for so many tokens
 */
export function insertedToken(
  text: string,
  baseline: string,
  reserved: readonly string[],
): string | undefined {
  const characters = reserved.reduce((sum, token) => sum + token.length, 0);
  const most = Math.floor(mostWork / Math.max(1, characters));
  const longer = Math.max(text.length, baseline.length);
  const expected = `at most ${most} characters for the ${reserved.length} added tokens`;
  if (longer > most) throw new PromptError("text", expected, longer);
  return reserved.find((token) => countOf(text, token) !== countOf(baseline, token));
}

/** Occurrences of `token` in `text`. */
export function countOf(text: string, token: string): number {
  return text.split(token).length - 1;
}
