import { type RegexProgram, compileRegex } from "./regex-program.js";

/** Most steps of all patterns for one text: half a second. Published ones take 20 a character. */
const mostPatternSteps = 10_000_000;
/** Most open choices, of two numbers each. */
const mostChoices = 1 << 21;

/** A pattern takes too many steps. */
export class PatternLimitError extends Error {
  constructor(
    readonly pattern: string,
    readonly limit: string,
  ) {
    super(`${pattern}: more than ${limit}`);
  }
}

/** Steps left for one text. */
export class PatternBudget {
  left = mostPatternSteps;

  reset(): void {
    this.left = mostPatternSteps;
  }

  /** Takes one step. @throws PatternLimitError  no steps are left, or too many choices are open */
  take(choices: number, pattern: string): void {
    if (--this.left < 0) throw new PatternLimitError(pattern, `${mostPatternSteps} steps`);
    if (choices > 2 * mostChoices) throw new PatternLimitError(pattern, `${mostChoices} open choices`);
  }
}

/**
 * Replaces a RegExp with the flags "gu" that splits or replaces a text. It finds the same matches
 * and counts its steps, so that any pattern ends after the same work on every machine.
 */
export class BoundedPattern {
  readonly flags = "gu";
  readonly #program: RegexProgram;
  readonly #budget: PatternBudget;
  /** Registers, which every run writes before it reads them. */
  readonly #marks: Int32Array;

  /**
   * @param source  a source of `new RegExp(source, "gu")`
   * @param name    its name in errors
   * @throws UnsupportedPatternError
   */
  constructor(
    source: string,
    budget: PatternBudget,
    readonly name = source,
  ) {
    this.#program = compileRegex(source);
    this.#budget = budget;
    this.#marks = new Int32Array(this.#program.registers);
  }

  *[Symbol.matchAll](text: string): Generator<{ 0: string; index: number }> {
    for (let from = 0; from <= text.length;) {
      const [start, end] = this.#find(text, from);
      if (start < 0) return;
      yield { 0: text.slice(start, end), index: start };
      from = end > start ? end : start + step(text, start);
    }
  }

  [Symbol.match](text: string): string[] | null {
    const found = Array.from(this[Symbol.matchAll](text), (match) => match[0]);
    return found.length > 0 ? found : null;
  }

  /** @param content  inserted literally */
  [Symbol.replace](text: string, content: string): string {
    return this.#between(text).join(content);
  }

  [Symbol.split](text: string): string[] {
    return this.#between(text);
  }

  /** The texts between the matches. */
  #between(text: string): string[] {
    const parts: string[] = [];
    let end = 0;
    for (const match of this[Symbol.matchAll](text)) {
      parts.push(text.slice(end, match.index));
      end = match.index + match[0].length;
    }
    return [...parts, text.slice(end)];
  }

  /** @returns start and end of the first match from `from` on; -1 if there is none */
  #find(text: string, from: number): [start: number, end: number] {
    for (let start = from; start <= text.length; start += step(text, start)) {
      const end = this.#run(0, text, start);
      if (end >= 0) return [start, end];
    }
    return [-1, -1];
  }

  /** Runs the program from `entry`. @returns the end of the match, or -1 */
  #run(entry: number, text: string, from: number): number {
    const { code, backward } = this.#program;
    const marks = this.#marks;
    const move = backward.has(entry) ? before : after;
    const choices: number[] = []; // pairs: an instruction and a position, or ~register and its old value
    let at = from;
    let pc = entry;
    for (;;) {
      this.#budget.take(choices.length, this.name);
      const instruction = code[pc];
      let fits = true;
      pc++;
      if (instruction.op === "set") {
        const next = move(text, at);
        fits = next >= 0 && instruction.has(text.codePointAt(Math.min(at, next))!);
        if (fits) at = next;
      } else if (instruction.op === "split") {
        choices.push(instruction.second, at);
        pc = instruction.first;
      } else if (instruction.op === "jump") pc = instruction.to;
      else if (instruction.op === "mark") {
        choices.push(~instruction.register, marks[instruction.register]);
        marks[instruction.register] = at;
      } else if (instruction.op === "moved") fits = marks[instruction.register] !== at;
      else if (instruction.op === "look") {
        fits = this.#run(instruction.body, text, at) >= 0 !== instruction.negated;
        pc = instruction.next;
      } else return at;
      if (fits) continue;
      for (pc = -1; pc < 0 && choices.length > 0;) {
        const value = choices.pop()!;
        pc = choices.pop()!;
        if (pc >= 0) at = value;
        else marks[~pc] = value;
      }
      if (pc < 0) return -1;
    }
  }
}

/** UTF-16 units of the character at `at`. */
function step(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}

/** The position after the next character; -1 at the end. */
function after(text: string, at: number): number {
  return at < text.length ? at + step(text, at) : -1;
}

/** The position before the last character; -1 at the start. */
function before(text: string, at: number): number {
  if (at === 0) return -1;
  return at > 1 && text.codePointAt(at - 2)! > 0xffff ? at - 2 : at - 1;
}
