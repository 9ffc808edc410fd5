const digitValues: Readonly<Record<string, number>> = Object.fromEntries(
  ["零〇○", "一壹幺", "二贰貳两兩", "三叁參", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖"].flatMap(
    (same, value) => Array.from(same).map((character) => [character, value]),
  ),
);
const unitValues: Readonly<Record<string, number>> = {
  十: 10,
  拾: 10,
  百: 100,
  佰: 100,
  千: 1000,
  仟: 1000,
  万: 1e4,
  萬: 1e4,
  亿: 1e8,
  億: 1e8,
};

const digit = `[0-9${Object.keys(digitValues).join("")}]`;
const unit = `[${Object.keys(unitValues).join("")}]`;
const numberPattern = new RegExp(`(?:${digit}|[十拾])(?:${digit}|${unit})*`, "gu");
/** A decimal fraction that a unit follows: "三点五万", "3.5亿". */
const scaledPattern = new RegExp(
  `(?<!${digit}|[十百千])((?:${digit}|[十百千])+)[点點.](${digit}+)([万萬亿億])`,
  "gu",
);
const mostDigits = 16;

/** "二零二四" → "2024" */
function digitsOf(text: string): string {
  return Array.from(text, (character) => digitValues[character] ?? character).join("");
}

/**
 * The value of digits and units, "一百零五" or "3万"; a digit behind a unit from 100 counts tenths of
 * that unit, as in "一百五".
 * @returns  undefined where digits and units make no number, or it has too many digits to be exact
 */
function valueOf(text: string): number | undefined {
  let [total, section, least] = [0, 0, Infinity]; // least: the smallest unit of the section so far
  let pending: number | undefined;
  let afterZero = false;
  let last = 1;
  for (const [part] of text.matchAll(/[0-9]+|./gsu)) {
    const value = unitValues[part];
    if (value === undefined) {
      if ((pending ?? 0) !== 0 || part.length > mostDigits) return undefined; // 三四十: 30 or 40
      afterZero = pending === 0 || digitsOf(part).startsWith("0");
      pending = Number(digitsOf(part));
    } else if (value < 1e4) {
      if (value >= least || (pending ?? 0) > 9) return undefined;
      if (!pending && (value !== 10 || section > 0)) return undefined;
      section += (pending || 1) * value;
      [least, last, pending, afterZero] = [value, value, undefined, false];
    } else {
      const whole = section + (pending ?? 0);
      if (whole === 0 && (value === 1e4 || total === 0)) return undefined;
      total = value === 1e4 ? total + whole * value : (total + whole) * value;
      [section, least, last, pending, afterZero] = [0, Infinity, value, undefined, false];
    }
  }
  const tenths = pending !== undefined && pending < 10 && !afterZero && last >= 100;
  const sum = total + section + (pending ?? 0) * (tenths ? last / 10 : 1);
  return Number.isSafeInteger(sum) ? sum : undefined;
}

const hasUnit = new RegExp(unit, "u");

function inDigits(text: string): string {
  if (!hasUnit.test(text)) return digitsOf(text);
  const value = valueOf(text);
  return value === undefined ? digitsOf(text) : String(value);
}

function scaled(text: string, whole: string, decimals: string, by: string): string {
  const value = hasUnit.test(whole) ? valueOf(whole) : Number(digitsOf(whole));
  const number = Number(`${value}.${digitsOf(decimals)}`) * unitValues[by];
  return Number.isSafeInteger(Math.round(number)) ? String(Math.round(number * 1e6) / 1e6) : text;
}

/**
 * Numbers in Chinese characters as digits: 八十二 → 82, 二零二四 → 2024, 一万二 → 12000, 三点五万 → 35000, 三点五 →
 * 3.5, 百分之五十 → 50%, 三分之一 → 1/3, beside Chinese -5 → 负5; 3:30 and 三点三十 are alike 3.30. A number
 * within a word (一下) is one too: reference and answer are changed alike.
 */
export function chineseNumbers(text: string): string {
  const signed = /\p{Script=Han}/u.test(text) ? text.replaceAll(/(?<![0-9A-Za-z])-(?=[0-9])/g, "负") : text;
  return signed
    .replaceAll(/([0-9]),(?=[0-9]{3}(?![0-9]))/g, "$1")
    .replaceAll(/百分之百/gu, "100%")
    .replaceAll(scaledPattern, scaled)
    .replaceAll(/百分之/gu, "％")
    .replaceAll(numberPattern, inDigits)
    .replaceAll(/([0-9])[点點:](?=[0-9])/gu, "$1.")
    .replaceAll(/％([0-9]+(?:\.[0-9]+)?)/gu, "$1%")
    .replaceAll(/％/gu, "百分之")
    .replaceAll(/(?<![0-9])([0-9]+)分之([0-9]+)/gu, "$2/$1");
}

/**
 * Letters and digits of full width as those of half width, half-width kana and Hangul as those of
 * full width.
 */
export function evenWidth(text: string): string {
  return text.replaceAll(/[\u3000\uff01-\uffee]+/gu, (wide) => wide.normalize("NFKC"));
}
