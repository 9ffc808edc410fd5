import { PromptError } from "./errors.js";

/** Comparisons of a character that finding the tokens of a vocabulary may take: a second or two. */
const mostWork = 2 ** 31;

/**
 * The first token of `reserved` that `text` holds more or less often than `baseline`: made by a text of the user's, not by the template.
 * @throws PromptError  the text is too long for so many tokens
 */
export function madeToken(text: string, baseline: string, reserved: readonly string[]): string | undefined {
  const characters = reserved.reduce((sum, token) => sum + token.length, 0);
  const most = Math.floor(mostWork / Math.max(1, characters));
  const longer = Math.max(text.length, baseline.length);
  if (longer > most)
    throw new PromptError(
      "text",
      `at most ${most} characters for the ${reserved.length} added tokens`,
      longer,
    );
  return reserved.find((token) => countOf(text, token) !== countOf(baseline, token));
}

/** Times that `text` holds `token`. */
export function countOf(text: string, token: string): number {
  return text.split(token).length - 1;
}
