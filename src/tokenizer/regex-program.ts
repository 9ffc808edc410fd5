/** One step of a compiled pattern. Only `set` moves the position in the text. */
export type Instruction =
  /** The next character must be in the set. */
  | { readonly op: "set"; readonly has: (codePoint: number) => boolean }
  /** Continue at `first`; if that fails, at `second`. */
  | { readonly op: "split"; readonly first: number; readonly second: number }
  | { readonly op: "jump"; readonly to: number }
  /** mark: store the position in a register. moved: fail if the position is the stored one. */
  | { readonly op: "mark" | "moved"; readonly register: number }
  /** The program at `body` must match here, or must not. The position does not change. */
  | { readonly op: "look"; readonly body: number; readonly negated: boolean; readonly next: number }
  | { readonly op: "match" };

/** A compiled pattern. */
export interface RegexProgram {
  readonly code: readonly Instruction[];
  /** Starts of the bodies of lookbehinds, which move backwards. */
  readonly backward: ReadonlySet<number>;
  readonly registers: number;
}

type Node =
  | { readonly type: "set"; readonly raw: string }
  | { readonly type: "sequence"; readonly parts: readonly Node[] }
  | { readonly type: "choice"; readonly options: readonly Node[] }
  | {
      readonly type: "repeat";
      readonly body: Node;
      readonly min: number;
      readonly max: number;
      readonly greedy: boolean;
    }
  | { readonly type: "look"; readonly body: Node; readonly behind: boolean; readonly negated: boolean };

/** Most instructions. A counted repetition is written out. */
const mostInstructions = 20_000;

/** A valid pattern that cannot be compiled. */
export class UnsupportedPatternError extends Error {}

/**
 * Compiles the source of a RegExp with the flag "u", without captures. Alternatives and repetitions
 * are tried in ECMAScript's order, so that a program finds the RegExp's matches.
 * @param source  a source of `new RegExp(source, "u")`
 * @throws UnsupportedPatternError  references, \b, ^ and $, flags in a group, or too many
 *   instructions
 * @source ECMA-262 22.2.2; Cox, "Regular Expression Matching: the Virtual Machine Approach" (2009)
 */
export function compileRegex(source: string): RegexProgram {
  return new Compiler().compile(new Parser(source).parse());
}

const group = /\(\?(?:[:=!]|<[=!]|<[^>]*>)|\((?!\?)/y;
const escaped = /\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[dD][89abAB]..\\u[dD][c-fC-F]..|u....|x..|c.|[^1-9kbB])/suy;
const bracket = /\[(?:[^\]\\]|\\.)*\]/suy;
const quantifier = /(?:([*+?])|\{(\d+)(,?)(\d*)\})(\??)/y;
const literal = /[^()[\]{}*+?\\|^$]/suy;

class Parser {
  #at = 0;
  constructor(readonly source: string) {}

  parse(): Node {
    const node = this.#choice();
    if (this.#at < this.source.length) throw this.#unsupported();
    return node;
  }

  #choice(): Node {
    const options = [this.#sequence()];
    while (this.source[this.#at] === "|") {
      this.#at++;
      options.push(this.#sequence());
    }
    return options.length === 1 ? options[0] : { type: "choice", options };
  }

  #sequence(): Node {
    const parts: Node[] = [];
    while (this.#at < this.source.length && !"|)".includes(this.source[this.#at]))
      parts.push(this.#repeated(this.#atom()));
    return parts.length === 1 ? parts[0] : { type: "sequence", parts };
  }

  #atom(): Node {
    const open = this.#take(group)?.[0];
    if (open !== undefined) {
      const body = this.#choice();
      this.#at++; // the closing bracket
      const kind = open.replace(/^\(\??/, "");
      if (!["=", "!", "<=", "<!"].includes(kind)) return body;
      return { type: "look", body, behind: kind.startsWith("<"), negated: kind.endsWith("!") };
    }
    const raw = (this.#take(bracket) ?? this.#take(escaped) ?? this.#take(literal))?.[0];
    if (raw === undefined) throw this.#unsupported();
    return { type: "set", raw };
  }

  #repeated(body: Node): Node {
    const found = this.#take(quantifier);
    if (!found) return body;
    const [, sign, from = "0", comma, to, lazy] = found as (string | undefined)[];
    const greedy = lazy === "";
    if (sign !== undefined)
      return { type: "repeat", body, min: sign === "+" ? 1 : 0, max: sign === "?" ? 1 : Infinity, greedy };
    const max = comma === "" ? Number(from) : to === "" ? Infinity : Number(to);
    return { type: "repeat", body, min: Number(from), max, greedy };
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.source);
    if (found) this.#at += found[0].length;
    return found;
  }

  #unsupported(): UnsupportedPatternError {
    return new UnsupportedPatternError(`${JSON.stringify(this.source.slice(this.#at, this.#at + 8))} in it`);
  }
}

class Compiler {
  readonly #code: Instruction[] = [];
  readonly #sets = new Map<string, (codePoint: number) => boolean>();
  readonly #backward = new Set<number>();
  #registers = 0;
  #copies = 0;

  compile(node: Node): RegexProgram {
    this.#emitNode(node, false);
    this.#emit({ op: "match" });
    return { code: this.#code, backward: this.#backward, registers: this.#registers };
  }

  #emit(instruction: Instruction): number {
    this.#count();
    return this.#code.push(instruction) - 1;
  }

  #count(): void {
    if (++this.#copies > mostInstructions)
      throw new UnsupportedPatternError(`more than ${mostInstructions} steps in it`);
  }

  #emitNode(node: Node, backward: boolean): void {
    if (node.type === "set") this.#emit({ op: "set", has: this.#set(node.raw) });
    else if (node.type === "sequence")
      for (const part of backward ? node.parts.toReversed() : node.parts) this.#emitNode(part, backward);
    else if (node.type === "choice") this.#emitChoice(node.options, backward);
    else if (node.type === "look") this.#emitLook(node.body, node.behind, node.negated);
    else this.#emitRepeat(node, backward);
  }

  #emitChoice(options: readonly Node[], backward: boolean): void {
    const ends: number[] = [];
    options.forEach((option, i) => {
      const last = i === options.length - 1;
      const split = last ? -1 : this.#reserve();
      this.#emitNode(option, backward);
      if (last) return;
      ends.push(this.#reserve());
      this.#code[split] = { op: "split", first: split + 1, second: this.#code.length };
    });
    for (const end of ends) this.#code[end] = { op: "jump", to: this.#code.length };
  }

  #emitLook(body: Node, behind: boolean, negated: boolean): void {
    const look = this.#reserve();
    if (behind) this.#backward.add(look + 1);
    this.#emitNode(body, behind);
    this.#emit({ op: "match" });
    this.#code[look] = { op: "look", body: look + 1, negated, next: this.#code.length };
  }

  #emitRepeat(node: Extract<Node, { type: "repeat" }>, backward: boolean): void {
    const { body, min, max, greedy } = node;
    for (let i = 0; i < min; i++) this.#copy(body, backward);
    const splits: number[] = [];
    const optional = max === Infinity ? 1 : max - min;
    for (let i = 0; i < optional; i++) {
      splits.push(this.#reserve());
      const register = this.#registers++;
      this.#emit({ op: "mark", register });
      this.#copy(body, backward);
      this.#emit({ op: "moved", register }); // refuses an empty repetition
    }
    if (max === Infinity) this.#emit({ op: "jump", to: splits[0] });
    for (const split of splits) {
      const [inside, after] = [split + 1, this.#code.length];
      const order = greedy ? { first: inside, second: after } : { first: after, second: inside };
      this.#code[split] = { op: "split", first: order.first, second: order.second };
    }
  }

  #copy(body: Node, backward: boolean): void {
    this.#count();
    this.#emitNode(body, backward);
  }

  /** Reserves an instruction, to be set later. */
  #reserve(): number {
    return this.#emit({ op: "match" });
  }

  #set(raw: string): (codePoint: number) => boolean {
    const cached = this.#sets.get(raw);
    if (cached) return cached;
    const has = isCharacter(raw) ? equals(raw.codePointAt(0)) : inSet(new RegExp(`^${raw}$`, "u"));
    this.#sets.set(raw, has);
    return has;
  }
}

function isCharacter(raw: string): boolean {
  return !".[\\".includes(raw[0]);
}

function equals(character: number | undefined): (codePoint: number) => boolean {
  return (codePoint) => codePoint === character;
}

/** Tests each character of the basic plane once with the pattern, in a table of two bits each. */
function inSet(pattern: RegExp): (codePoint: number) => boolean {
  let results: Uint8Array | undefined; // 1: out, 2: in
  return (codePoint) => {
    const test = (): boolean => pattern.test(String.fromCodePoint(codePoint));
    if (codePoint > 0xffff) return test();
    results ??= new Uint8Array(0x4000);
    const [byte, shift] = [codePoint >> 2, (codePoint & 3) * 2];
    if (((results[byte] >> shift) & 3) === 0) results[byte] |= (test() ? 2 : 1) << shift;
    return ((results[byte] >> shift) & 3) === 2;
  };
}
