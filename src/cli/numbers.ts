import { InvalidArgumentError } from "commander";

/**
 * A parser of finite numbers for commander.
 * @param expected  words of the refusal, such as "a number above 0"
 */
export function number(
  expected: string,
  ok: (value: number) => boolean = Number.isFinite,
): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (Number.isFinite(value) && ok(value)) return value;
    throw new InvalidArgumentError(`Expected ${expected}.`);
  };
}

/** A parser of whole numbers in a range. */
export function whole(least: number, most?: number): (text: string) => number {
  const expected = `a whole number from ${least}${most === undefined ? "" : ` to ${most}`}`;
  return number(
    expected,
    (value) => Number.isSafeInteger(value) && value >= least && value <= (most ?? value),
  );
}

export const positive = number("a positive number", (value) => value > 0);

/** A parser of counts. */
export const natural = whole(1);
