import { space, splitWords } from "./spaces.js";

/** The part of a word in a number. Counts are 1 to 19; a suffix ends the number. */
type NumberWord =
  | { readonly kind: "count" | "tens" | "times"; readonly n: bigint; readonly suffix: string }
  | { readonly kind: "sign" | "unit"; readonly mark: string }
  | { readonly kind: "zero" | "per" | "percent" | "special" };

const counts =
  "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(
    " ",
  );
const tens = "twenty thirty forty fifty sixty seventy eighty ninety".split(" ");
const powers =
  "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion".split(
    " ",
  );
const oddOrdinals: Readonly<Record<string, string>> = {
  one: "first:st",
  two: "second:nd",
  three: "third:rd",
  five: "fifth:th",
  twelve: "twelfth:th",
};

function numberWords(): Map<string, NumberWord> {
  const words = new Map<string, NumberWord>();
  const add = (kind: "count" | "tens" | "times", n: bigint, forms: readonly string[]): void => {
    for (const form of forms) {
      const [word, suffix = ""] = form.split(":");
      words.set(word, { kind, n, suffix });
    }
  };
  add("count", 0n, ["zeroth:th"]);
  counts.forEach((word, i) => {
    const ordinal = oddOrdinals[word] ?? `${word}${word.endsWith("t") ? "h" : "th"}:th`;
    add("count", BigInt(i + 1), [word, `${word === "six" ? "sixe" : word}s:s`, ordinal]);
  });
  tens.forEach((word, i) => {
    const stem = word.slice(0, -1);
    add("tens", BigInt(10 * i + 20), [word, `${stem}ies:s`, `${stem}ieth:th`]);
  });
  const times: [string, bigint][] = [["hundred", 100n], ...powers.map(powerOf)];
  for (const [word, n] of times) add("times", n, [word, `${word}s:s`, `${word}th:th`]);
  for (const word of ["o", "oh", "zero"]) words.set(word, { kind: "zero" });
  const marks = { minus: "-", negative: "-", plus: "+", positive: "+" };
  for (const [word, mark] of Object.entries(marks)) words.set(word, { kind: "sign", mark });
  const units = { pound: "£", euro: "€", dollar: "$", cent: "¢" };
  for (const [word, mark] of Object.entries(units))
    for (const form of [word, `${word}s`]) words.set(form, { kind: "unit", mark });
  words.set("per", { kind: "per" }).set("percent", { kind: "percent" });
  for (const word of ["and", "double", "triple", "point"]) words.set(word, { kind: "special" });
  return words;
}

function powerOf(word: string, i: number): [string, bigint] {
  return [word, 1000n ** BigInt(i + 1)];
}

const known = numberWords();
const numeral = /^\p{Nd}+(\.\p{Nd}+)?$/u;

/** Digits of other scripts as 0 to 9; each script's ten follow each other. */
function latinDigits(text: string): string {
  return text.replaceAll(/\p{Nd}/gu, (digit) => {
    let zero = digit.codePointAt(0)!;
    while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero--;
    return String((digit.codePointAt(0)! - zero) % 10);
  });
}

/** A text holds digits that were put one after another; an integer is a sum. */
type Value = bigint | string | undefined;

function isPlain(word: string | undefined, kind: "count" | "tens" | "times"): boolean {
  const found = known.get(word ?? "");
  return found?.kind === kind && "suffix" in found && found.suffix === "";
}

/** "twenty" and "one" are 21, "one" and "one" are 11. */
function joinCount(value: Value, n: bigint, previous: string | undefined): Value {
  if (value === undefined) return n;
  const digit = n < 10n;
  if (typeof value === "string")
    return isPlain(previous, "tens") && digit ? `${value.slice(0, -1)}${n}` : `${value}${n}`;
  return !isPlain(previous, "count") && value % (digit ? 10n : 100n) === 0n ? value + n : `${value}${n}`;
}

function joinTens(value: Value, n: bigint): Value {
  if (value === undefined) return n;
  return typeof value === "bigint" && value % 100n === 0n ? value + n : `${value}${n}`;
}

/** Times 100 or a power of 1000; undefined where the result is not whole. */
function multiply(value: Value, n: bigint): bigint | undefined {
  if (value === undefined) return n;
  if (typeof value === "bigint") {
    const rest = value % 1000n;
    return value - rest + rest * n;
  }
  const [, whole, decimals = ""] = /^([0-9]*)(?:\.([0-9]*))?$/.exec(value) ?? [];
  if (whole === undefined || whole + decimals === "") return undefined;
  const product = BigInt(whole + decimals) * n;
  const scale = 10n ** BigInt(decimals.length);
  return product % scale === 0n ? product / scale : undefined;
}

/** Reads words from left to right and writes numbers in digits. */
class NumberReader {
  readonly #out: string[] = [];
  #prefix = "";
  #value: Value;

  constructor(private readonly words: readonly string[]) {}

  read(): string {
    for (let i = 0; i < this.words.length; i++) if (this.#word(i)) i++;
    this.#flush();
    return this.#out.join(" ");
  }

  /** @returns  whether the next word is read too */
  #word(i: number): boolean {
    const word = this.words[i];
    const [previous, next] = [this.words[i - 1], this.words[i + 1]];
    const bare = /^[-+£€$¢]/.test(word) ? word.slice(1) : word;
    const found = known.get(word);
    if (numeral.test(bare)) this.#numeral(word, bare);
    else if (!found) this.#literal(word);
    else if (found.kind === "zero") this.#value = `${this.#digits()}0`;
    else if ("n" in found) this.#number(found, previous);
    else if (found.kind === "sign") {
      this.#flush();
      if (isNumeric(next)) this.#prefix = found.mark;
      else this.#emit(word);
    } else if (found.kind === "unit") {
      if (this.#value !== undefined) this.#prefix = found.mark;
      this.#emit(this.#value ?? word);
    } else if (found.kind === "percent") {
      this.#emit(this.#value === undefined ? word : `${this.#value}%`);
    } else if (found.kind === "per") {
      const percent = this.#value !== undefined && next === "cent";
      if (percent) this.#emit(`${this.#value}%`);
      else this.#literal(word);
      return percent;
    } else return this.#special(word, previous, next);
    return false;
  }

  #numeral(word: string, bare: string): void {
    if (typeof this.#value === "string" && this.#value.endsWith(".")) {
      this.#value += word; // decimals, parts of an address
      return;
    }
    this.#flush();
    if (bare !== word) this.#prefix = word[0];
    const [whole, decimals = ""] = latinDigits(bare).split(".");
    this.#value = /[1-9]/.test(decimals) ? bare : BigInt(whole);
  }

  #number({ kind, n, suffix }: Extract<NumberWord, { n: bigint }>, previous: string | undefined): void {
    if (kind === "times") this.#times(n, suffix);
    else {
      const value = kind === "count" ? joinCount(this.#value, n, previous) : joinTens(this.#value, n);
      if (suffix === "") this.#value = value;
      else this.#emit(`${value}${suffix}`);
    }
  }

  #times(n: bigint, suffix: string): void {
    const product = multiply(this.#value, n);
    if (product === undefined) this.#flush();
    const value = product ?? n;
    if (suffix === "") this.#value = value;
    else this.#emit(`${value}${suffix}`);
  }

  #special(word: string, previous: string | undefined, next: string | undefined): boolean {
    if (!isNumeric(next)) this.#literal(word);
    else if (word === "and") {
      if (!isPlain(previous, "times")) this.#literal(word); // "hundred and five" is one number
    } else if (word === "point") {
      if (isDecimal(next)) this.#value = `${this.#digits()}.`;
    } else {
      const digit = known.get(next)?.kind === "zero" ? "0" : isPlain(next, "count") ? countOf(next) : "";
      if (digit !== "") this.#value = this.#digits() + digit.repeat(word === "double" ? 2 : 3);
      else this.#literal(word);
      return digit !== "";
    }
    return false;
  }

  /** The digits so far; an integer of 0 has none. */
  #digits(): string {
    return this.#value === undefined || this.#value === 0n ? "" : String(this.#value);
  }

  #flush(): void {
    if (this.#value !== undefined) this.#emit(this.#value);
  }

  #literal(word: string): void {
    this.#flush();
    this.#emit(word);
  }

  #emit(text: string | bigint): void {
    this.#out.push(`${this.#prefix}${text}`);
    this.#prefix = "";
    this.#value = undefined;
  }
}

function isNumeric(word: string | undefined): word is string {
  return word !== undefined && (known.has(word) || numeral.test(word));
}

function isDecimal(word: string): boolean {
  return (
    numeral.test(word) || known.get(word)?.kind === "zero" || isPlain(word, "count") || isPlain(word, "tens")
  );
}

function countOf(word: string): string {
  return String(counts.indexOf(word) + 1);
}

const wordCharacter = "[\\p{L}\\p{N}_]";
const half = new RegExp(`(?<!${wordCharacter})and${space}+a${space}+half(?!${wordCharacter})`, "u");
const suffixApart = new RegExp(`([0-9])${space}+(st|nd|rd|th|s)(?!${wordCharacter})`, "gu");
const lone = new RegExp(`(?<!${wordCharacter})1(s?)(?!${wordCharacter})`, "gu");
const cents = new RegExp(`([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})(?!${wordCharacter})`, "gu");
const centsAlone = new RegExp(`[€£$]0.([0-9]{1,2})(?!${wordCharacter})`, "gu");

/** "two and a half" is "two point five". */
function withHalves(text: string): string {
  const parts = text.split(half);
  const out: string[] = [];
  for (const [i, part] of parts.entries()) {
    const words = splitWords(part);
    if (words.length === 0) continue;
    out.push(part);
    if (i === parts.length - 1) continue;
    const last = words.at(-1)!;
    const counted = !numeral.test(last) && (isDecimal(last) || isPlain(last, "times"));
    out.push(counted ? "point five" : "and a half");
  }
  return out.join(" ");
}

/**
 * Numbers in words as digits, with signs, currencies and per cent as marks: "twenty five dollars"
 * is "$25", "one oh one" is "101", "nineteen sixties" is "1960s"; one and ones stay words. Text is
 * in lower case.
 * @source the rules of OpenAI Whisper's EnglishNumberNormalizer (whisper/normalizers/english.py,
 *         MIT)
 */
export function englishNumbers(text: string): string {
  const apart = withHalves(text)
    .replaceAll(/([a-z])([0-9])/g, "$1 $2")
    .replaceAll(/([0-9])([a-z])/g, "$1 $2")
    .replaceAll(suffixApart, "$1$2");
  return new NumberReader(splitWords(apart))
    .read()
    .replaceAll(
      cents,
      (_, mark: string, whole: string, part: string) => `${mark}${whole}.${part.padStart(2, "0")}`,
    )
    .replaceAll(centsAlone, (_, part: string) => `¢${Number(part)}`)
    .replaceAll(lone, "one$1");
}
